/**
 * Child processes. A server must never wait for its own disk, so a child does that.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

/** Time a killed child has to end before we stop waiting for it, in milliseconds. */
const KILL_MS = 1_000;

/**
 * Starts a shell.
 *
 * @param stdout The destination of its output. The other two streams are `/dev/null`.
 * @throws {UblkError} `SYSCALL_FAILED` if no process or descriptor is left, or `/bin/sh` is missing.
 */
export function startShell(
  script: string,
  args: readonly string[],
  stdout: "null" | "piped",
): Deno.ChildProcess {
  try {
    return new Deno.Command("/bin/sh", {
      args: ["-c", script, ...args],
      stdin: "null",
      stdout,
      stderr: "null",
    }).spawn();
  } catch (cause) {
    // The message of a missing permission already says what to do.
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    throw new UblkError("SYSCALL_FAILED", {
      operation: "start /bin/sh",
      reason: (cause as Error).message,
      hint: "see `ulimit -u` and `ulimit -n`, and whether there is a /bin/sh",
      cause,
    });
  }
}

/**
 * Detaches from a child: it no longer keeps this process alive. If a signal is given, it is sent.
 *
 * For a moment after a child has ended, `unref()` throws a bare "Bad resource ID", and `kill()` that
 * or another error. A `serve()` on a busy machine once failed with it.
 */
export function letGo(child: Deno.ChildProcess, signal?: Deno.Signal): void {
  for (const step of [() => child.unref(), () => signal && child.kill(signal)]) {
    try {
      step();
    } catch {
      // The child has ended.
    }
  }
}

/**
 * Reads all output of a child.
 *
 * The limit applies to the output, not only to the child: programs that a shell has started keep its
 * stdout open after the shell has died.
 *
 * @param limitMs In milliseconds. A child that is late is killed and abandoned.
 * @returns The text, or undefined if it was not complete in time.
 */
export async function outputWithin(
  child: Deno.ChildProcess,
  limitMs: number,
): Promise<string | undefined> {
  const reader = child.stdout.getReader();
  const read = async () => {
    const decoder = new TextDecoder();
    let text = "";
    for (let part; !(part = await reader.read()).done;) {
      text += decoder.decode(part.value, { stream: true });
    }
    await child.status;
    return text + decoder.decode();
  };
  const text = await unlessLate(read().catch(() => undefined), limitMs);
  if (text === undefined) {
    letGo(child, "SIGKILL");
    await reader.cancel().catch(() => {});
    // A child that is blocked in the kernel does not even die of SIGKILL.
    await unlessLate(child.status, KILL_MS);
  }
  return text;
}

/** The promise's value, or undefined if it takes longer. */
async function unlessLate<T>(promise: Promise<T>, limitMs: number): Promise<T | undefined> {
  const { promise: late, resolve: giveUp } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => giveUp(undefined), limitMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
