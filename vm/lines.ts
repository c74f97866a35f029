/**
 * Streams by lines, and the last lines of a stream.
 *
 * @module
 */

/**
 * Yields a byte stream's lines, the last one even without an end. Each chunk goes to `take` first,
 * as it is.
 */
export async function* collectLines(
  stream: ReadableStream<Uint8Array>,
  take?: (chunk: Uint8Array) => void,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    take?.(chunk);
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield line.replace(/\r+$/, "");
  }
  if (rest !== "") yield rest;
}

/** Keeps a stream's last lines. */
export class Tail {
  readonly #limit: number;
  #lines: string[] = [];

  /** Keeps up to `limit` lines. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds a line. */
  push(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > 2 * this.#limit) this.#lines = this.#lines.slice(-this.#limit);
  }

  /** The lines kept, each with its end. */
  text(): string {
    return this.#lines.slice(-this.#limit).map((line) => `${line}\n`).join("");
  }
}
