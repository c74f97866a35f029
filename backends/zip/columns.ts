/**
 * Compact storage for very many numbers and texts.
 *
 * @module
 */

/** A column of numbers. */
type Column =
  | Float64Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

/** The column with another length. Keeps the numbers that fit, and detaches the old column. */
export function resized<C extends Column>(column: C, length: number): C {
  const bytes = Math.ceil(length) * column.BYTES_PER_ELEMENT;
  const Kind = column.constructor as new (buffer: ArrayBuffer) => C;
  return new Kind(column.buffer.transfer(bytes));
}

/**
 * Size of a chunk: small enough for the allocator to reuse a freed chunk, large enough to keep the
 * number of chunks low.
 */
const CHUNK_BYTES = 64 << 10;

/**
 * Texts in UTF-8, stored one after the other in chunks. A single growing block would be copied
 * repeatedly and leave the process twice as large as its data.
 */
export class TextStore {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  /** The end of each text, which is the start of the next. */
  #ends: Uint32Array<ArrayBuffer>;
  #count = 0;
  #scratch = new Uint8Array(1024);
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** An empty store with room for `capacity` texts; it grows. */
  constructor(capacity: number) {
    this.#ends = new Uint32Array(capacity);
  }

  /** Adds a text, which must be well-formed. */
  add(text: string): void {
    if (this.#count === this.#ends.length) {
      this.#ends = resized(this.#ends, Math.max(16, this.#count * 2));
    }
    // UTF-8 takes at most three bytes for each UTF-16 unit.
    if (text.length * 3 > this.#scratch.length) this.#scratch = new Uint8Array(text.length * 3);
    const { written } = this.#encoder.encodeInto(text, this.#scratch);
    let at = this.#startOf(this.#count);
    for (let done = 0; done < written;) {
      const within = at % CHUNK_BYTES;
      if (within === 0) this.#chunks.push(new Uint8Array(CHUNK_BYTES));
      const part = this.#scratch.subarray(done, Math.min(written, done + CHUNK_BYTES - within));
      this.#chunks.at(-1)!.set(part, within);
      done += part.length;
      at += part.length;
    }
    this.#ends[this.#count++] = at;
  }

  /** Frees unused room. */
  trim(): void {
    if (this.#ends.length > this.#count) this.#ends = resized(this.#ends, this.#count);
  }

  /** The text at an index. */
  at(index: number): string {
    const [start, end] = [this.#startOf(index), this.#ends[index]];
    if (start === end) return "";
    const chunk = Math.floor(start / CHUNK_BYTES);
    const within = start % CHUNK_BYTES;
    const bytes = end - start;
    if (within + bytes <= CHUNK_BYTES) {
      return this.#decoder.decode(this.#chunks[chunk].subarray(within, within + bytes));
    }
    const whole = new Uint8Array(bytes);
    for (let done = 0; done < bytes;) {
      const from = (start + done) % CHUNK_BYTES;
      const part = this.#chunks[Math.floor((start + done) / CHUNK_BYTES)]
        .subarray(from, from + bytes - done);
      whole.set(part, done);
      done += part.length;
    }
    return this.#decoder.decode(whole);
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : this.#ends[index - 1];
  }
}
