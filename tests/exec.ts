/**
 * Runs programs with a time limit, and ends all running ones on demand.
 *
 * Each program leads a process group of its own: its children (a VM, a test's servers) get the
 * signal too. It also means that a Ctrl-C at the terminal reaches only this process, which then
 * passes it on through {@link stopAll}.
 *
 * @module
 */

/** The end of a program. */
export interface Ran {
  /** Exit code, or 128 + the signal's number if it was killed. */
  code: number;
  /** Whether it was ended by the time limit. */
  timedOut: boolean;
}

/** Time between SIGTERM and SIGKILL, in which a program may take down a VM or a device. */
const GRACE_MS = 15_000;

const running = new Set<Deno.ChildProcess>();

/** Runs a program that inherits stdout and stderr, without input. */
export async function run(program: string, args: string[], limitMs: number): Promise<Ran> {
  const child = new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
    env: Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" },
    detached: true,
  }).spawn();
  running.add(child);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop(child);
  }, limitMs);
  try {
    const { code } = await child.status;
    return { code, timedOut };
  } finally {
    clearTimeout(timer);
    running.delete(child);
  }
}

/** Ends all running programs: by SIGTERM, or by SIGKILL if `force`. */
export function stopAll(force = false): void {
  for (const child of running) {
    if (force) signal(child, "SIGKILL");
    else stop(child);
  }
}

function stop(child: Deno.ChildProcess): void {
  signal(child, "SIGTERM");
  const timer = setTimeout(() => signal(child, "SIGKILL"), GRACE_MS);
  // End processes that the leader left behind in its group.
  child.status.finally(() => {
    clearTimeout(timer);
    signal(child, "SIGKILL");
  });
}

function signal(child: Deno.ChildProcess, name: "SIGTERM" | "SIGKILL"): void {
  try {
    Deno.kill(-child.pid, name);
  } catch (error) {
    // ESRCH: no process is left in the group.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
