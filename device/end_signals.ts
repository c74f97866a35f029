/**
 * Ending devices on signals.
 *
 * By default a signal such as SIGINT ends the process at once: no `finally` and no `await using`
 * runs, and the device is left without a server. So `serve()` listens for these signals. It deletes
 * the device and then sends the signal to its own process again, which ends as it would have
 * without us.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import {
  addListener,
  type EndSignal,
  exitAtAbort,
  isIgnored,
  raiseSignal,
  SECOND_SIGNAL_MS,
  SIGNAL_NUMBERS,
} from "../uring/signals.ts";
import { logLine } from "./log.ts";

/** Time Deno has to act on a signal that the process sends to itself, in milliseconds. */
const SENT_MS = 100;

/** Time for which one device's end may delay the end of idle devices, in milliseconds. */
const TURN_MS = 3_000;
/** Poll interval for a device's activity, in milliseconds. */
const LOOK_MS = 100;
/** Time devices have to end after a second signal, in milliseconds. */
const HURRY_MS = 2_000;

/** Something that a signal ends. */
interface Ending {
  /** Cancels its start if it is still starting. */
  interrupt(name: EndSignal): void;
  /** A number that changes while it is in use. */
  answered(): number;
  /** Ends it. */
  end(name: EndSignal): Promise<void>;
  /** Resolves once there is nothing left to end, for whatever reason. */
  readonly ended: Promise<unknown>;
}

/** What each signal ends, in the order of starting. */
const endings = new Map<EndSignal, Set<Ending>>();
const listeners = new Map<EndSignal, () => void>();
/** A bit mask of the signals that we listen for. Another thread reads it when this one is stuck. */
export const listenedSignals = new Int32Array(new SharedArrayBuffer(4));
/** The ends in progress. */
const underWay = new Map<Ending, Promise<void>>();
/** Time of the first signal, by `performance.now()`. */
let firstMs: number | undefined;

/**
 * The signals that end a device.
 *
 * @param asked The option: true for all, false for none, or a list.
 * @throws {UblkError} `INVALID_ARGUMENT` for a signal that does not end programs.
 */
export function chosenSignals(asked: boolean | readonly EndSignal[]): EndSignal[] {
  const all = Object.keys(SIGNAL_NUMBERS) as EndSignal[];
  const names = asked === true ? all : asked === false ? [] : [...asked];
  const wrong = names.find((name) => !all.includes(name));
  if (wrong !== undefined) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "serve",
      reason: `signals: ${wrong} ends no device`,
      hint: `choose among ${all.join(", ")}`,
    });
  }
  // Signals reach the main thread only, and the program decides there.
  if ("WorkerGlobalScope" in globalThis) return [];
  return names.filter((name) => !isIgnored(name));
}

/** Registers something to be ended by any of these signals. */
export function endOnSignals(names: readonly EndSignal[], ending: Ending): void {
  for (const name of names) endings.set(name, (endings.get(name) ?? new Set()).add(ending));
  listen();
  ending.ended.then(() => {
    for (const name of names) endings.get(name)?.delete(ending);
    // Keep listening for a second signal while devices end.
    if (firstMs === undefined) listen();
  });
}

/** Listens for exactly those signals that have something to end. */
function listen(): void {
  for (const [name, { size }] of endings) {
    if (size === 0) {
      unlisten(name);
    } else if (!listeners.has(name)) {
      const listener = () => void onSignal(name);
      listeners.set(name, listener);
      Atomics.or(listenedSignals, 0, 1 << SIGNAL_NUMBERS[name]);
      addListener(name, listener);
    }
  }
}

function unlisten(name: EndSignal): void {
  const listener = listeners.get(name);
  if (listener === undefined) return;
  listeners.delete(name);
  Atomics.and(listenedSignals, 0, ~(1 << SIGNAL_NUMBERS[name]));
  Deno.removeSignalListener(name, listener);
}

async function onSignal(name: EndSignal): Promise<void> {
  if (firstMs !== undefined) {
    if (performance.now() - firstMs >= SECOND_SIGNAL_MS) await hurry(name);
    return;
  }
  firstMs = performance.now();
  await endAll(name);
  // Let code that awaited a device's end run first.
  await sleep(0);
  await sendOn(name);
  // The process survived: the program has a listener of its own.
  firstMs = undefined;
  listen();
}

/**
 * Ends everything in reverse order, like leaving a scope: a later device's backend may lie on an
 * earlier device's disk. A slow end delays earlier devices only while those are in use, perhaps by
 * the slow one. It may hang, and earlier devices would then be left behind with dirty data.
 */
async function endAll(name: EndSignal): Promise<void> {
  const all = [...endings.get(name) ?? []].reverse();
  for (const ending of all) ending.interrupt(name);
  const unused = all.map(untilUnused);
  let before = Promise.resolve();
  for (const [index, ending] of all.entries()) {
    await Promise.race([
      Promise.all(underWay.values()),
      Promise.all([unused[index], Promise.race([before, sleep(TURN_MS)])]),
    ]);
    before = end(ending, name);
  }
  await Promise.all(underWay.values());
}

/** Ends it unless that is in progress or done. Never rejects. */
function end(ending: Ending, name: EndSignal): Promise<void> {
  const begun = underWay.get(ending);
  if (begun !== undefined || !endings.get(name)!.has(ending)) return begun ?? Promise.resolve();
  const ended = ending.end(name)
    .catch((error) => logLine(40, error instanceof Error ? error.message : String(error)))
    .finally(() => underWay.delete(ending));
  underWay.set(ending, ended);
  return ended;
}

/** Resolves once it has been idle for a while, or signal handling is over. */
async function untilUnused(ending: Ending): Promise<void> {
  let last = ending.answered();
  let sinceMs = performance.now();
  while (firstMs !== undefined && performance.now() - sinceMs < TURN_MS) {
    await sleep(LOOK_MS);
    const now = ending.answered();
    if (now !== last) sinceMs = performance.now();
    last = now;
  }
}

/** On a second signal, starts all remaining ends at once and gives them little time. */
async function hurry(name: EndSignal): Promise<void> {
  for (const ending of [...endings.get(name) ?? []].reverse()) void end(ending, name);
  await Promise.race([Promise.all(underWay.values()), sleep(HURRY_MS)]);
  await sendOn(name);
}

/**
 * Sends the signal to this process again with our listener removed. If nobody else listens, Deno
 * ends the process as the signal would have. The program's own listeners are called again.
 */
async function sendOn(name: EndSignal): Promise<void> {
  unlisten(name);
  if (Deno.pid === 1) exitAtAbort(128 + SIGNAL_NUMBERS[name]);
  raiseSignal(name);
  await sleep(SENT_MS);
}

/** Resolves once no signal is being handled. Never, in a process that the signal ends. */
export async function afterSignal(): Promise<void> {
  while (firstMs !== undefined) await sleep(SENT_MS);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
