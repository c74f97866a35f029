/**
 * `ublk top`: the current work of devices, updated repeatedly.
 *
 * @module
 */

import { exitNow } from "../../uring/libc.ts";
import type { TOP_FLAGS } from "../line/command_flags.ts";
import type { Values } from "../line/flags.ts";
import { endScreen, isTerminal, writeLines } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";
import { missingOf, type Sample, sampleDevices } from "./samples.ts";
import { Screen } from "./screen.ts";
import { SIGNAL_NUMBERS, watchSignals } from "../program/signals.ts";
import { depthFromKernel, type Interval, intervalsBetween, topLines } from "./top_text.ts";

type TopValues = Values<typeof TOP_FLAGS>;

/** Time limit for a server's answer, in milliseconds; after that the server is shown as silent. */
const ANSWER_MS = 2000;

/** `ublk top`. */
export async function top(values: TopValues): Promise<number> {
  using watch = watchSignals((name) => {
    endScreen();
    exitNow(128 + SIGNAL_NUMBERS[name]);
  });
  const looks = look(values, watch.signal);
  if (values.iterations === undefined && isTerminal()) await onScreen(looks, values, watch.signal);
  else await inText(looks, values);
  return EXIT_OK;
}

/** Yields one look per interval, until the signal or the requested number of looks. */
async function* look(
  { id: ids, interval = 1, iterations = Infinity }: TopValues,
  signal: AbortSignal,
): AsyncGenerator<Interval[]> {
  const intervalMs = interval * 1000;
  let earlier: Sample[] = await sampleDevices(ids, ANSWER_MS);
  // At first it is a slip; one that goes later leaves the others.
  const [missing] = missingOf(ids, earlier);
  if (missing !== undefined) throw missing;
  let nextMs = performance.now() + intervalMs;
  for (let count = 0; count < iterations; count++) {
    await pause(nextMs - performance.now(), signal);
    if (signal.aborted) return;
    const later = await sampleDevices(ids, ANSWER_MS);
    yield intervalsBetween(earlier, later);
    earlier = later;
    // If a look takes longer than the interval, the lost time is not made up for.
    nextMs = Math.max(nextMs + intervalMs, performance.now());
  }
}

/** Resolves after `ms` milliseconds, or at the signal. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, Math.max(0, ms));
  const stop = () => resolve();
  signal.addEventListener("abort", stop);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", stop);
}

async function inText(looks: AsyncGenerator<Interval[]>, { queues }: TopValues): Promise<void> {
  let first = true;
  for await (const each of looks) {
    const lines = topLines(each, queues ? depthFromKernel : undefined);
    await writeLines([...(first ? [] : [""]), ...lines]);
    first = false;
  }
}

async function onScreen(
  looks: AsyncGenerator<Interval[]>,
  values: TopValues,
  signal: AbortSignal,
): Promise<void> {
  let queues: boolean = values.queues;
  let latest: Interval[] | undefined;
  const quit = Promise.withResolvers<undefined>();
  // Immediately, without waiting for a server's answer.
  signal.addEventListener("abort", () => quit.resolve(undefined));
  await using screen = new Screen((key) => {
    if (key === "q") quit.resolve(undefined);
    else if (key === "p") {
      queues = !queues;
      draw().catch(quit.reject);
    }
  });
  const draw = () => screen.draw(screenLines(latest, values, queues));
  const resized = () => void draw().catch(quit.reject);
  Deno.addSignalListener("SIGWINCH", resized);
  try {
    await draw();
    while (true) {
      const next = await Promise.race([looks.next(), quit.promise]);
      if (next === undefined || next.done) return;
      latest = next.value;
      await draw();
    }
  } finally {
    Deno.removeSignalListener("SIGWINCH", resized);
  }
}

/** A heading and the table below it. */
export function screenLines(
  looks: readonly Interval[] | undefined,
  { interval = 1 }: Pick<TopValues, "interval">,
  queues: boolean,
): string[] {
  const heading = `ublk top, every ${interval} s: q quits, p ${queues ? "hides" : "shows"} queues`;
  if (looks === undefined) return [heading];
  if (looks.length === 0) return [heading, "", "there are no devices"];
  return [heading, "", ...topLines(looks, queues ? depthFromKernel : undefined)];
}
