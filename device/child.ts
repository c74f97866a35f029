/**
 * Child processes: a server must never wait for its own disk, so others do.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

/** How long a child that was killed may take to end before nobody waits for it any more, in milliseconds. */
const KILL_MS = 1_000;

/**
 * Starts a shell.
 *
 * @param stdout What becomes of its output; the other two streams are `/dev/null`.
 * @throws {UblkError} `SYSCALL_FAILED` where no process or descriptor is left, or no `/bin/sh` is here.
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
    // A missing permission says by itself what to do.
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
 * Lets a child go its way: it keeps this process no longer, and is killed where a signal is given.
 *
 * One that has just ended makes Deno throw for a moment, until it has told of the end: `unref()` a
 * bare "Bad resource ID", `kill()` that or another. A `serve()` on a busy machine failed with it.
 */
export function letGo(child: Deno.ChildProcess, signal?: Deno.Signal): void {
  for (const step of [() => child.unref(), () => signal && child.kill(signal)]) {
    try {
      step();
    } catch {
      // It has ended.
    }
  }
}

/**
 * Reads all that a child prints.
 *
 * The time bounds the output and not only the child: the programs that a shell has started keep its
 * stdout open when the shell is dead.
 *
 * @param limitMs In milliseconds. A child that is late is killed, and let go of.
 * @returns The text, or undefined where it was not complete in time.
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
    // One that waits in the kernel does not even hear SIGKILL until that is over.
    await unlessLate(child.status, KILL_MS);
  }
  return text;
}

/** What a promise resolves to, or undefined where that takes longer. */
async function unlessLate<T>(promise: Promise<T>, limitMs: number): Promise<T | undefined> {
  const { promise: late, resolve: giveUp } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => giveUp(undefined), limitMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
