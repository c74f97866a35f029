/**
 * Running and watching other programs inside the guest.
 *
 * @module
 */

/** Runs a program to its end and returns its stdout; throws with what it complained about. */
export async function run(program: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  const out = text.decode(stdout);
  if (success) return out;
  throw new Error(`${program} ${args.join(" ")} failed:\n${out}${text.decode(stderr)}`);
}

/**
 * CPU time that a process's threads have had so far, in nanoseconds: on the deterministic bed the
 * number of instructions. Threads that have ended are not in it.
 */
export function cpuNs(pid: number): number {
  let sum = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    sum += Number(Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`).split(" ")[0]);
  }
  return sum;
}

/** A program whose stdout is read line by line as it comes. */
export class Talker implements AsyncDisposable {
  /** Its process number. */
  readonly pid: number;
  /** Every line so far. */
  readonly lines: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #heard: Promise<void>;
  #wake: () => void = () => {};

  /** Starts it. Its stderr is this process's. */
  constructor(program: string, args: readonly string[], cwd?: string) {
    this.#child = new Deno.Command(program, {
      args: [...args],
      cwd,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.pid = this.#child.pid;
    this.#heard = this.#listen();
  }

  async #listen(): Promise<void> {
    let rest = "";
    const text = this.#child.stdout.pipeThrough(new TextDecoderStream());
    for await (const chunk of text) {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop()!;
      this.lines.push(...parts);
      this.#wake();
    }
    this.#wake();
  }

  /** The first line that matches, also one that is yet to come; throws where it ends without. */
  async line(pattern: RegExp): Promise<string> {
    let ended = false;
    this.#heard.then(() => ended = true);
    for (;;) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (ended) throw new Error(`it ended without a line that matches ${pattern}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#heard.then(resolve);
      });
    }
  }

  /** Asks it to end, and waits until it has. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended by itself.
    }
    await this.#child.status;
    await this.#heard;
  }
}
