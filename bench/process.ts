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

/** CPU time that each thread of a process has had so far, in nanoseconds, by thread number. */
export function threadsNs(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`);
    times.set(name, Number(stat.split(" ")[0]));
  }
  return times;
}

/** What the busiest thread of a process has had since, in nanoseconds: the one that serves. */
export function busiestNs(pid: number, before: ReadonlyMap<string, number>): number {
  return Math.max(...[...threadsNs(pid)].map(([thread, ns]) => ns - (before.get(thread) ?? 0)));
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
