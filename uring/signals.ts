/**
 * The signals that end programs, beneath what Deno makes of them.
 *
 * @module
 */

import { exitNow, functionAddress, libc, processLibc, readSmallFile } from "./libc.ts";

/** The signals that end a server. */
export type EndSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

/** Their numbers, for exit statuses. */
export const SIGNAL_NUMBERS: Readonly<Record<EndSignal, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGTERM: 15,
};

/**
 * Under `deno task` one Ctrl-C arrives twice within 2 ms: from the terminal, and passed on by the
 * task's own process. Only a later one means impatience.
 */
export const SECOND_SIGNAL_MS = 1000;

let atStart: readonly EndSignal[] | undefined;

/**
 * The signals that this process was started to ignore, as `nohup` does with SIGHUP and a shell with
 * SIGINT for what a script runs in the background. Looked up once, before we listen: Deno then
 * catches them all, and the kernel names none of them any more.
 */
function ignoredAtStart(): readonly EndSignal[] {
  return atStart ??= ignored();
}

/** Whether this process was started with a signal ignored. To listen would undo that. */
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
    // Without /proc none can be told to be ignored.
    return "";
  }
}

/** The signals that a listener of ours ignores. */
const heldBack = new Set<EndSignal>();

/**
 * Listens to a signal, and leaves the others as they are. Deno catches all that end programs as soon
 * as it listens to one, and would end the process at one that it was started to ignore.
 */
export function addListener(name: EndSignal, listener: () => void): void {
  for (const other of ignoredAtStart()) {
    if (other === name || heldBack.has(other)) continue;
    heldBack.add(other);
    // A listener, and not SIG_IGN: beneath Deno that would silence whoever listens later, since Deno
    // believes that its handler is still there.
    Deno.addSignalListener(other, () => {});
  }
  Deno.addSignalListener(name, listener);
}

/**
 * Has a signal end this process at once, whoever listens: for a process whose main thread is stuck,
 * which runs no listener any more.
 *
 * @returns A function that puts the handler back that was there, for when that thread gets on: Deno
 *   believes that it still is.
 */
export function endAtOnce(name: EndSignal): () => void {
  return setHandler(SIGNAL_NUMBERS[name], SIG_DFL);
}

/** The status with which the process exits where it would abort. */
let abortStatus: number | undefined;

/**
 * Has the process exit where Deno aborts it. The kernel shields the first process of a container
 * (PID 1) from signals that nobody catches. Deno takes that for a failure to end by the signal and
 * aborts, from which the kernel shields it too: it ended by a SIGSEGV.
 */
export function exitAtAbort(status: number): void {
  const SIGABRT = 6;
  const isSet = abortStatus !== undefined;
  abortStatus = status;
  // Never undone: Deno acts on a signal when it gets to it.
  if (!isSet) setHandler(SIGABRT, functionAddress(() => exitNow(abortStatus!)));
}

const SIG_DFL = 0n;
/** Eight-byte words of a `struct sigaction`, in glibc and musl. The first is the handler. */
const ACTION_WORDS = 19;

/** Beneath what Deno has set up, and for the whole process. Returns a function that undoes it. */
function setHandler(number: number, handler: bigint): () => void {
  const { sigaction } = processLibc();
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
