/**
 * Runs the programs of the demo, each with a limit on its time.
 *
 * @module
 */

/** A step that failed: one line that says which and why. */
export class DemoError extends Error {
  override name = "DemoError";
}

/** What {@linkcode run} may be told. */
export interface RunOptions {
  /** The folder to run in. */
  cwd?: string;
  /** Ends the program. */
  signal?: AbortSignal;
  /** The most that it may take. Default: 120,000. */
  limitMs?: number;
}

/** A program that is killed and yet does not end waits for a disk; nobody shall wait for it. */
const GRACE_MS = 3_000;

/**
 * Runs a program to its end and returns what it printed.
 *
 * @throws {DemoError} With the last line of its complaints, when it fails or takes too long.
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
  const { promise: overdue, resolve: giveUp } = Promise.withResolvers<undefined>();
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has just ended by itself.
    }
    grace = setTimeout(() => giveUp(undefined), GRACE_MS);
  };
  let grace: ReturnType<typeof setTimeout> | undefined;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, limitMs);
  options.signal?.addEventListener("abort", kill);
  try {
    const ended = await Promise.race([child.status, overdue]);
    options.signal?.throwIfAborted();
    if (late || ended === undefined) {
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

/** Starts a program whose output is read. */
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

/** The last line with something in it. */
export function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
