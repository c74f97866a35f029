/**
 * A cache in memory, of a size that never grows.
 *
 * @module
 */

import type { Answer, Backend, OpenContext, Sharing, WriteOptions } from "../backend.ts";
import type { Size } from "../geometry.ts";
import type { BackendSpec } from "../spec.ts";
import { type Steps, take, Turns } from "./answers.ts";
import { CacheBlocks } from "./cache_blocks.ts";
import { Passing } from "./passing.ts";
import { checkOptions, refused, type Wrapper } from "./wrapper.ts";

/** What is cached is in one heap. */
export const sharing: Sharing = "single";

/** When what was written reaches the disk inside. */
export type CacheMode = "write-back" | "write-through";

/** Options of {@linkcode cache}. */
export interface CacheOptions {
  /** Bytes that are cached at most. Default: 64 MiB. */
  readonly size?: Size;
  /**
   * `"write-back"`: a write is answered when it is in the cache, and reaches the disk inside when it
   * is flushed, has FUA, or its place is needed. `"write-through"` (the default): it is answered
   * when the disk inside has it.
   */
  readonly mode?: CacheMode;
  /** Bytes of a block of the cache: a power of two from 4096 to 1 MiB. Default: 4096. */
  readonly block?: Size;
}

interface StoredOptions {
  readonly size: number;
  readonly mode: CacheMode;
  readonly block: number;
}

/**
 * A disk with a cache of its own in front, for disks that are slower than memory: those over a
 * network, or computed. It keeps what was used last.
 *
 * A write-back cache is lost with its server, like that of a disk without power: what was flushed is
 * safe, the device cannot be recovered.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` where an option is not possible.
 *
 * @example
 * ```ts
 * import { cache, file } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = cache(file("disk.img"), { size: "256MiB", mode: "write-back" });
 * assertEquals(disk.options, { size: 256 << 20, mode: "write-back", block: 4096 });
 * ```
 */
export function cache(inner: BackendSpec, options: CacheOptions = {}): BackendSpec {
  const checked = checkOptions<Partial<StoredOptions>>(wrapper, options);
  const { size = 64 << 20, mode = "write-through", block = 4096 } = checked;
  if ((block & block - 1) !== 0) {
    throw refused("cache", `block=${block} is not possible`, "use a power of two");
  }
  if (size < block) {
    throw refused("cache", `size=${size} is less than a block of ${block}`, "give more");
  }
  const stored: StoredOptions = { size, mode, block };
  return { module: import.meta.url, options: stored, inner: [inner] };
}

/** Opens it around what is inside. */
export function open(options: unknown, { inner: [disk] }: Pick<OpenContext, "inner">): Backend {
  return new Cached(disk, options as StoredOptions);
}

const FUA: WriteOptions = Object.freeze({ fua: true });
const NO_FUA: WriteOptions = Object.freeze({ fua: false });
/** The most that is written back at a time, in bytes, where blocks lie side by side. */
const WRITE_BACK_BYTES = 256 << 10;

/**
 * Bytes that are dirty at most, and a little more: a flush writes them all, and has to be done
 * within the deadline of a request.
 */
const MAX_DIRTY_BYTES = 64 << 20;

class Cached extends Passing {
  readonly #blocks: CacheBlocks;
  readonly #block: number;
  readonly #back: boolean;
  /** What takes time has the cache to itself: hits need no time, and wait for nobody. */
  readonly #turns = new Turns();
  /** Blocks that are written back together. */
  readonly #scratch: Uint8Array<ArrayBuffer>;

  constructor(inner: Backend, { size, mode, block }: StoredOptions) {
    super(inner);
    this.#block = block;
    this.#back = mode === "write-back" && inner.readOnly !== true;
    this.#blocks = new CacheBlocks(Math.floor(size / block), block, inner.size);
    this.#scratch = new Uint8Array(this.#back ? Math.max(block, WRITE_BACK_BYTES) : 0);
    this.resize = undefined;
    this.readMetadata = undefined;
    this.writeMetadata = undefined;
    if (this.#back) {
      this.fua = true;
      this.persistent = false;
      this.close = () => this.flush!();
    }
    if (this.#back || inner.flush !== undefined) {
      this.flush = () => this.#turns.take(() => take(this.#flush()));
    }
    this.trim = inner.trim &&
      ((offset, length) => this.#turns.take(() => take(this.#trim(offset, length))));
    this.writeZeroes = inner.writeZeroes &&
      ((offset, length, how) =>
        this.#turns.take(() => take(this.#zero(offset, length, how.mayUnmap))));
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    if (this.#blocks.readAll(buffer, offset)) return;
    return this.#turns.take(() => take(this.#read(buffer, offset)));
  }

  override writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, { fua }: WriteOptions): Answer {
    const through = !this.#back || fua;
    const atOnce = !through && this.#turns.idle && this.#blocks.dirtyBytes < MAX_DIRTY_BYTES;
    if (atOnce && this.#blocks.writeAll(buffer, offset)) return;
    return this.#turns.take(() =>
      take(through ? this.#writeThrough(buffer, offset, fua) : this.#writeBack(buffer, offset))
    );
  }

  *#read(buffer: Uint8Array<ArrayBuffer>, offset: number): Steps {
    const end = offset + buffer.length;
    for (let at = offset; at < end;) {
      const block = Math.floor(at / this.#block);
      const blockEnd = Math.min(end, (block + 1) * this.#block);
      if (this.#blocks.read(block, buffer, offset, at, blockEnd)) {
        at = blockEnd;
      } else if (this.#covers(block, offset, end)) {
        at = yield* this.#readRun(buffer, offset, block);
      } else {
        yield* this.#fill(block);
      }
    }
  }

  #covers(block: number, offset: number, end: number): boolean {
    const start = block * this.#block;
    return offset <= start && end >= start + this.#blocks.bytesOf(block);
  }

  /** Reads blocks that are not cached straight into the buffer; returns up to where. */
  *#readRun(
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    first: number,
  ): Generator<Answer, number, void> {
    const end = offset + buffer.length;
    let next = first + 1;
    while (this.#covers(next, offset, end) && next * this.#block < end && !this.#blocks.has(next)) {
      next++;
    }
    const from = first * this.#block;
    const to = Math.min(next * this.#block, end);
    const whole = from === offset && to === end;
    yield this.inner.readAt(whole ? buffer : buffer.subarray(from - offset, to - offset), from);
    for (let block = first; block < next; block++) {
      const slot = yield* this.#room();
      this.#blocks.set(slot, block, buffer, block * this.#block - offset);
    }
    return to;
  }

  /** Brings a block in. */
  *#fill(block: number): Steps {
    const slot = yield* this.#room();
    try {
      yield this.inner.readAt(this.#blocks.bytes(slot, block), block * this.#block);
    } catch (error) {
      this.#blocks.free(slot);
      throw error;
    }
    this.#blocks.put(slot, block);
  }

  /** A slot that nobody uses, which may have to be written back first. */
  *#room(): Generator<Answer, number, void> {
    const blocks = this.#blocks;
    // Again, because another may have become the oldest meanwhile: hits wait for nobody.
    for (let slot = blocks.oldest(); blocks.isDirty(slot); slot = blocks.oldest()) {
      yield* this.#clean(blocks.blockOf(slot));
    }
    return blocks.takeSlot();
  }

  *#writeBack(buffer: Uint8Array<ArrayBuffer>, offset: number): Steps {
    const end = offset + buffer.length;
    for (let at = offset; at < end;) {
      const block = Math.floor(at / this.#block);
      const blockEnd = Math.min(end, (block + 1) * this.#block);
      if (this.#blocks.write(block, buffer, offset, at, blockEnd)) {
        at = blockEnd;
      } else if (this.#covers(block, offset, end)) {
        const slot = yield* this.#room();
        this.#blocks.set(slot, block, buffer, at - offset);
        this.#blocks.dirty(slot);
        at = blockEnd;
      } else {
        yield* this.#fill(block);
      }
    }
    if (this.#blocks.dirtyBytes >= MAX_DIRTY_BYTES) yield* this.#cleanAll();
  }

  *#writeThrough(buffer: Uint8Array<ArrayBuffer>, offset: number, fua: boolean): Steps {
    const { inner } = this;
    const end = offset + buffer.length;
    const first = Math.floor(offset / this.#block);
    const endBlock = Math.ceil(end / this.#block);
    try {
      yield inner.writeAt(buffer, offset, fua && inner.fua === true ? FUA : NO_FUA);
      if (fua && inner.fua !== true) yield inner.flush?.();
    } catch (error) {
      // What is inside now is anybody's guess. What was dirty still is to be written.
      this.#blocks.dropClean(offset, end);
      throw error;
    }
    for (let block = first; block < endBlock; block++) {
      const from = Math.max(offset, block * this.#block);
      const to = Math.min(end, (block + 1) * this.#block);
      const covered = this.#covers(block, offset, end);
      if (this.#blocks.update(block, buffer, offset, from, to, covered) || !covered) continue;
      const slot = yield* this.#room();
      this.#blocks.set(slot, block, buffer, from - offset);
    }
  }

  *#flush(): Steps {
    yield* this.#cleanAll();
    yield this.inner.flush?.();
  }

  *#cleanAll(): Steps {
    for (const block of this.#blocks.dirtyBlocks()) {
      const slot = this.#blocks.slotOf(block);
      // It may have been written back together with the one before.
      if (this.#blocks.isDirty(slot)) yield* this.#clean(block);
    }
  }

  /** Writes a dirty block back, and with it dirty ones that follow. */
  *#clean(first: number): Steps {
    const blocks = this.#blocks;
    let bytes = 0;
    let next = first;
    while (blocks.has(next) && blocks.isDirty(blocks.slotOf(next))) {
      const block = blocks.bytes(blocks.slotOf(next), next);
      if (bytes + block.length > this.#scratch.length) break;
      this.#scratch.set(block, bytes);
      bytes += block.length;
      next++;
    }
    yield this.inner.writeAt(this.#scratch.subarray(0, bytes), first * this.#block, NO_FUA);
    for (let block = first; block < next; block++) blocks.clean(blocks.slotOf(block));
  }

  /** Trims or zeroes a range inside, which like a write may fail half way. */
  *#changeInside(offset: number, length: number, work: () => Answer): Steps {
    try {
      yield work();
    } catch (error) {
      this.#blocks.dropClean(offset, offset + length);
      throw error;
    }
  }

  *#trim(offset: number, length: number): Steps {
    yield* this.#changeInside(offset, length, () => this.inner.trim!(offset, length));
    const end = Math.floor((offset + length) / this.#block);
    this.#blocks.drop(Math.ceil(offset / this.#block), end);
  }

  *#zero(offset: number, length: number, mayUnmap: boolean): Steps {
    const work = () => this.inner.writeZeroes!(offset, length, { mayUnmap });
    yield* this.#changeInside(offset, length, work);
    this.#blocks.zero(offset, offset + length);
  }
}

/** `cache` on a command line. */
export const wrapper: Wrapper = {
  name: "cache",
  summary: "keeps in memory what was used last",
  keeps: ({ mode }) => mode !== "write-back",
  options: [
    {
      name: "size",
      kind: "size",
      min: 4096,
      max: 2 ** 32,
      first: true,
      help: "Bytes that are cached at most. Default: 64M.",
    },
    {
      name: "mode",
      kind: "text",
      choices: ["write-through", "write-back"],
      help: "When what was written reaches the disk inside. Default: write-through.",
    },
    {
      name: "block",
      kind: "size",
      min: 4096,
      max: 1 << 20,
      help: "Bytes of a block of it, a power of two. Default: 4K.",
    },
  ],
  spec: (inner, given) => cache(inner, given as CacheOptions),
};
