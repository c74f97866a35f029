/**
 * Programs of this folder in network namespaces.
 *
 * @module
 */

/** A program of this folder, in a namespace. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#lines = linesOf(child.stdout);
    this.#input = child.stdin.getWriter();
  }

  static start(within: readonly string[], file: string, args: readonly string[]): Program {
    const [program, ...words] = [
      ...[...within, Deno.execPath(), "run", "--quiet", "-A", "--no-check"],
      ...[new URL(file, import.meta.url).pathname, ...args],
    ];
    const child = new Deno.Command(program!, {
      ...{ args: words, stdin: "piped", stdout: "piped", stderr: "inherit" },
    }).spawn();
    return new Program(child);
  }

  /** The next line that it prints. @throws {Error} if it has ended. */
  async line(): Promise<string> {
    const line = await this.nextLine();
    if (line === undefined) throw new Error("a program has ended");
    return line;
  }

  /** The next line that it prints; undefined once it has ended. */
  async nextLine(): Promise<string | undefined> {
    const { value, done } = await this.#lines.next();
    return done ? undefined : value;
  }

  /** Gives it a line. */
  async write(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Tells it to end. */
  async end(): Promise<void> {
    await this.#input.close().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    while (await this.nextLine() !== undefined);
    await this.#child.status;
    clearTimeout(timer);
  }
}

/** The lines of a stream. */
export async function* linesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
