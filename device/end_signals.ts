/**
 * The signals that end devices.
 *
 * By default a signal such as Ctrl-C's ends the process at once: no `finally` and no `await using`
 * runs, and the device is left behind without a server. So `serve()` listens: it deletes the device,
 * and then sends the signal on to its own process, which ends as it would have without us.
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

/** How long Deno may take to act on a signal that the process sends itself, in milliseconds. */
const SENT_MS = 100;

/** How long a device that is being ended delays those that are not used, in milliseconds. */
const TURN_MS = 3_000;
/** How often it is looked whether a device is used, in milliseconds. */
const LOOK_MS = 100;
/** How long devices get to end at a second signal, in milliseconds. */
const HURRY_MS = 2_000;

/** Something that ends at a signal. */
interface Ending {
  /** Calls its start off, if it has not ended yet; a signal has come. */
  interrupt(name: EndSignal): void;
  /** A number that changes while it is used. */
  answered(): number;
  /** Ends it; a signal has come. */
  end(name: EndSignal): Promise<void>;
  /** Resolves once there is nothing left to end, however that came about. */
  readonly ended: Promise<unknown>;
}

/** What ends at a signal, in the order in which it began. */
const endings = new Map<EndSignal, Set<Ending>>();
const listeners = new Map<EndSignal, () => void>();
/**
 * The signals that are listened to now, a bit for the number of each: another thread reads them when
 * this one is stuck.
 */
export const listenedSignals = new Int32Array(new SharedArrayBuffer(4));
/** The ends that are under way. */
const underWay = new Map<Ending, Promise<void>>();
/** When the first signal came, by `performance.now()`. */
let firstMs: number | undefined;

/**
 * The signals that are to end a device.
 *
 * @param asked The option: all or none, or these.
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
  // Signals reach the main thread only: a Worker's program decides there.
  if ("WorkerGlobalScope" in globalThis) return [];
  return names.filter((name) => !isIgnored(name));
}

/** Ends something at any of these signals, until it has ended by itself. */
export function endOnSignals(names: readonly EndSignal[], ending: Ending): void {
  for (const name of names) endings.set(name, (endings.get(name) ?? new Set()).add(ending));
  listen();
  ending.ended.then(() => {
    for (const name of names) endings.get(name)?.delete(ending);
    // While devices end a second signal is still heard.
    if (firstMs === undefined) listen();
  });
}

/** Listens to the signals that have something to end, and to no other. */
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
  // Whoever waited for the end of a device gets a turn.
  await sleep(0);
  await sendOn(name);
  // The program listens too, and goes on.
  firstMs = undefined;
  listen();
}

/**
 * Ends everything, the last first, as at the end of a scope: its backend may lie on the disk of one
 * before. One that takes long delays those before it only while they are used, perhaps by itself:
 * it may hang, and they would be left behind with what is dirty.
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

/** Ends it, unless that is under way or over. Never rejects. */
function end(ending: Ending, name: EndSignal): Promise<void> {
  const begun = underWay.get(ending);
  if (begun !== undefined || !endings.get(name)!.has(ending)) return begun ?? Promise.resolve();
  const ended = ending.end(name)
    .catch((error) => logLine(40, error instanceof Error ? error.message : String(error)))
    .finally(() => underWay.delete(ending));
  underWay.set(ending, ended);
  return ended;
}

/** Resolves once it has not been used for a while, or no signal is being dealt with any more. */
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

/** At a second signal all that is left begins to end, and has little time for it. */
async function hurry(name: EndSignal): Promise<void> {
  for (const ending of [...endings.get(name) ?? []].reverse()) void end(ending, name);
  await Promise.race([Promise.all(underWay.values()), sleep(HURRY_MS)]);
  await sendOn(name);
}

/**
 * Sends the signal to this process, without us. Where nobody else listens, Deno ends the process as
 * the signal would have; listeners of the program's own hear it a second time.
 */
async function sendOn(name: EndSignal): Promise<void> {
  unlisten(name);
  if (Deno.pid === 1) exitAtAbort(128 + SIGNAL_NUMBERS[name]);
  raiseSignal(name);
  await sleep(SENT_MS);
}

/** Resolves once no signal is being dealt with: in a process that a signal ends, never. */
export async function afterSignal(): Promise<void> {
  while (firstMs !== undefined) await sleep(SENT_MS);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
