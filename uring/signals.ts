/**
 * The signals that end programs, handled below Deno's own handlers.
 *
 * @module
 */

import { exitNow, functionAddress, libc, readSmallFile } from "./libc.ts";

/** The signals that end a server. */
export type EndSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

/** Their numbers, for exit statuses. */
export const SIGNAL_NUMBERS: Readonly<Record<EndSignal, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGTERM: 15,
};

/**
 * Time after which another signal counts as a second one, in milliseconds. Under `deno task` one
 * Ctrl-C arrives twice within 2 ms: from the terminal, and from the task's own process. Only a
 * later one means impatience.
 */
export const SECOND_SIGNAL_MS = 1000;

let atStart: readonly EndSignal[] | undefined;

/**
 * The signals that were ignored when this process started. `nohup` ignores SIGHUP, and a shell
 * ignores SIGINT for the background jobs of a script. They are looked up once, before we add a
 * listener: Deno then catches all of them, and the kernel no longer lists any as ignored.
 */
function ignoredAtStart(): readonly EndSignal[] {
  return atStart ??= ignored();
}

/** Whether this process was started with a signal ignored. Adding a listener would undo that. */
export function isIgnored(name: EndSignal): boolean {
  return ignoredAtStart().includes(name);
}

function ignored(): EndSignal[] {
  const mask = BigInt(`0x${/^SigIgn:\s*([0-9a-f]+)$/m.exec(processStatus())?.[1] ?? 0}`);
  return (Object.keys(SIGNAL_NUMBERS) as EndSignal[]).filter((name) =>
    (mask >> BigInt(SIGNAL_NUMBERS[name] - 1) & 1n) === 1n
  );
}

function processStatus(): string {
  try {
    return readSmallFile("/proc/self/status");
  } catch {
    // Without /proc, ignored signals cannot be determined.
    return "";
  }
}

/** The signals that an empty listener of ours swallows. */
const heldBack = new Set<EndSignal>();

/**
 * Adds a listener for one signal, and leaves the others as they are. As soon as Deno listens to one
 * signal, it catches all that end programs, and would end the process even on an ignored one.
 */
export function addListener(name: EndSignal, listener: () => void): void {
  for (const other of ignoredAtStart()) {
    if (other === name || heldBack.has(other)) continue;
    heldBack.add(other);
    // Use a listener and not SIG_IGN. Set below Deno, SIG_IGN would silence later listeners,
    // because Deno believes that its own handler is still in place.
    Deno.addSignalListener(other, () => {});
  }
  Deno.addSignalListener(name, listener);
}

/**
 * Makes a signal end this process at once, despite any listeners. For a process whose main thread
 * is stuck and runs no listeners.
 *
 * @returns A function that restores the previous handler, for when the thread runs again. Deno
 *   believes that its handler is still in place.
 */
export function endAtOnce(name: EndSignal): () => void {
  return setHandler(SIGNAL_NUMBERS[name], SIG_DFL);
}

/** The status with which the process exits instead of aborting. */
let abortStatus: number | undefined;

/**
 * Makes the process exit when Deno would abort it. The kernel shields the first process of a
 * container (PID 1) from signals that it does not catch. Deno sees that the signal did not end the
 * process, and aborts. The kernel shields the process from SIGABRT too, so it used to end with a
 * SIGSEGV.
 */
export function exitAtAbort(status: number): void {
  const SIGABRT = 6;
  const isSet = abortStatus !== undefined;
  abortStatus = status;
  // Never undone, because Deno acts on a signal at some later time.
  if (!isSet) setHandler(SIGABRT, functionAddress(() => exitNow(abortStatus!)));
}

const SIG_DFL = 0n;
/** Size of a `struct sigaction` in 8-byte words, in glibc and musl. The first is the handler. */
const ACTION_WORDS = 19;

/** Sets a handler below Deno's, for the whole process. Returns a function that undoes it. */
function setHandler(number: number, handler: bigint): () => void {
  const { sigaction } = libc();
  const before = new BigUint64Array(ACTION_WORDS);
  const action = new BigUint64Array(ACTION_WORDS);
  action[0] = handler;
  sigaction(number, action, before);
  return () => sigaction(number, before, null);
}

/** Sends a signal to this process. */
export function raiseSignal(name: EndSignal): void {
  libc().raise(SIGNAL_NUMBERS[name]);
}
