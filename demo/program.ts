/**
 * Runs the programs of the demo, each with a time limit.
 *
 * @module
 */

/** The failure of a step, in one line: which step and why. */
export class DemoError extends Error {
  override name = "DemoError";
}

/** Options of {@linkcode run}. */
export interface RunOptions {
  /**
   * The working directory.
   *
   * @default The current one
   */
  cwd?: string;
  /** Kills the program when aborted. */
  signal?: AbortSignal;
  /**
   * Time limit in milliseconds.
   *
   * @default 120_000
   */
  limitMs?: number;
}

/** Time to wait for a killed program. One that does not end hangs on a disk and is abandoned. */
const GRACE_MS = 3_000;

/**
 * Runs a program and returns its stdout.
 *
 * @throws {DemoError} If it fails, with the last line of its stderr, or if it takes too long.
 */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const name = [program.split("/").at(-1), ...args.slice(0, 1)].join(" ");
  const limitMs = options.limitMs ?? 120_000;
  options.signal?.throwIfAborted();
  const child = spawn(program, args, options.cwd);
  const stdout = new Response(child.stdout).text();
  const stderr = new Response(child.stderr).text();
  const { promise: overdue, resolve: stopWaiting } = Promise.withResolvers<undefined>();
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has already ended.
    }
    grace = setTimeout(() => stopWaiting(undefined), GRACE_MS);
  };
  let grace: ReturnType<typeof setTimeout> | undefined;
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    kill();
  }, limitMs);
  options.signal?.addEventListener("abort", kill);
  try {
    const ended = await Promise.race([child.status, overdue]);
    options.signal?.throwIfAborted();
    if (timedOut || ended === undefined) {
      throw new DemoError(`${name}: not done in ${limitMs / 1000} s`);
    }
    if (ended.success) return await stdout;
    throw new DemoError(`${name}: ${lastLine(await stderr) || `exit status ${ended.code}`}`);
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    options.signal?.removeEventListener("abort", kill);
  }
}

/** Starts a program with piped output. */
export function spawn(program: string, args: readonly string[], cwd?: string) {
  try {
    return new Deno.Command(program, {
      args: [...args],
      cwd,
      env: { LC_ALL: "C", NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DemoError(`${program}: the program is not installed`);
  }
}

/** The last line that is not empty. */
export function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
