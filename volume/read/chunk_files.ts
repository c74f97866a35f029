/**
 * The chunks that are open for reading, at most so many: each with a descriptor and the sums of its
 * blocks. The one that was used least recently makes room, unless it is being read.
 *
 * @module
 */

import type { File } from "../../files/port.ts";
import { assert, fail } from "../../uapi/error.ts";
import type { Pieces } from "../pack/chunks.ts";
import type { BlockSeals } from "../seal/chunks.ts";

/** A chunk that has been opened. */
export interface OpenedChunk {
  /** The name of the object. */
  readonly name: string;
  /** Its file. */
  readonly file: File;
  /** The descriptor. */
  readonly fd: number;
  /** Where the data begins, in bytes. */
  readonly dataAt: number;
  /** The sum of each block, as it lies there; in a compressed chunk, when it is opened. */
  readonly sums: Uint32Array<ArrayBuffer>;
  /** What opens the blocks; undefined for a volume that is not encrypted. */
  readonly seals?: BlockSeals;
  /** The pieces of a compressed chunk; undefined for others. */
  readonly pieces?: Pieces;
}

/** Opens a chunk and checks its table. Throws in one line what is wrong with it. */
export type OpenChunk = (chunk: number) => OpenedChunk;

interface Entry {
  readonly chunk: number;
  readonly opened: OpenedChunk;
  readers: number;
}

/** Open chunks. */
export class ChunkFiles implements Disposable {
  readonly #open: OpenChunk;
  readonly #most: number;
  /** In the order of their last use. */
  readonly #entries = new Map<number, Entry>();
  /** The entry that was used last: sequential reads stay in one. */
  #last: Entry | undefined = undefined;

  /** At most `most` are open, apart from those that are being read. */
  constructor(open: OpenChunk, most: number) {
    assert(most > 0, "some chunk may be open");
    this.#open = open;
    this.#most = most;
  }

  /** The number of open chunks. */
  get size(): number {
    return this.#entries.size;
  }

  /** Opens a chunk, or finds it open. It stays open until {@linkcode release}. */
  take(chunk: number): OpenedChunk {
    let entry = this.#last;
    if (entry?.chunk !== chunk) {
      entry = this.#entries.get(chunk);
      if (entry === undefined) {
        const opened = this.#open(chunk);
        this.#makeRoom();
        entry = { chunk, opened, readers: 0 };
      } else this.#entries.delete(chunk);
      this.#entries.set(chunk, entry);
      this.#last = entry;
    }
    entry.readers++;
    return entry.opened;
  }

  /** A chunk that is in use. */
  using(chunk: number): OpenedChunk {
    return (this.#entries.get(chunk) ?? fail("a chunk in use is open")).opened;
  }

  /** Ends one use of a chunk. */
  release(chunk: number): void {
    const entry = this.#entries.get(chunk);
    if (entry === undefined || --entry.readers < 0) fail("a chunk is released once per use");
  }

  #makeRoom(): void {
    if (this.#entries.size < this.#most) return;
    for (const [chunk, { opened, readers }] of this.#entries) {
      if (readers > 0) continue;
      opened.file.close();
      this.#entries.delete(chunk);
      if (this.#last?.chunk === chunk) this.#last = undefined;
      return;
    }
  }

  /** Closes all of them. */
  [Symbol.dispose](): void {
    for (const { opened } of this.#entries.values()) opened.file[Symbol.dispose]();
    this.#entries.clear();
    this.#last = undefined;
  }
}
