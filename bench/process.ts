/**
 * Runs and observes other programs inside the guest.
 *
 * @module
 */

/** Runs a program and returns its stdout; throws with its output if it fails. */
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

/** CPU time of each thread of a process so far, in nanoseconds, by thread id. */
export function threadsNs(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`);
    times.set(name, Number(stat.split(" ")[0]));
  }
  return times;
}

/**
 * CPU time of a process so far, in microseconds, with that of threads that have ended. It counts in
 * hundredths of a second.
 */
export function processUs(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // The program's name, in parentheses, may have blanks in it. utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** CPU time of the busiest thread since `before`, in nanoseconds: the thread that serves. */
export function busiestNs(pid: number, before: ReadonlyMap<string, number>): number {
  return Math.max(...[...threadsNs(pid)].map(([thread, ns]) => ns - (before.get(thread) ?? 0)));
}

/** A running program whose stdout is read line by line. */
export class LineProcess implements AsyncDisposable {
  /** The process id. */
  readonly pid: number;
  /** All lines so far. */
  readonly lines: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #drained: Promise<void>;
  #wake: () => void = () => {};
  #hasEnded = false;

  /** Starts the program. It inherits stderr. */
  constructor(program: string, args: readonly string[], cwd?: string) {
    this.#child = new Deno.Command(program, {
      args: [...args],
      cwd,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.pid = this.#child.pid;
    this.#drained = this.#listen();
    this.#child.status.then(() => this.#hasEnded = true);
  }

  /** Whether the program has ended. */
  get hasEnded(): boolean {
    return this.#hasEnded;
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

  /** Waits for the first line that matches; throws if the program ends without one. */
  async line(pattern: RegExp): Promise<string> {
    let ended = false;
    this.#drained.then(() => ended = true);
    for (;;) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (ended) throw new Error(`it ended without a line that matches ${pattern}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#drained.then(resolve);
      });
    }
  }

  /** Sends SIGTERM, and waits for the program's end. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has already ended.
    }
    await this.#child.status;
    await this.#drained;
  }
}
