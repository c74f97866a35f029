/**
 * Child processes: a server must never wait for its own disk, so others do.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

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
