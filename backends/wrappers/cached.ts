/**
 * A disk behind a cache. The cache answers some requests; this file decides the order in which the
 * others reach the inner disk.
 *
 * Three rules protect answered data:
 *
 * - A block is never written back over newer contents below. A write that bypasses the cache updates
 *   everything cached of its range before any room is made.
 * - Without room, requests bypass the cache, so a cache full of blocks that the disk refuses is no
 *   obstacle.
 * - After a failed flush, or a failed write with FUA, another flush succeeds only if all data that the
 *   disk may have lost was written once more.
 *
 * @module
 */

import { EIO } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import type { Answer, Backend, WriteOptions } from "../../disk/backend.ts";
import { closedError, type Steps, take, Turns } from "../../disk/answers.ts";
import { CacheBlocks, NO_SLOT } from "./cache_blocks.ts";
import { lossError } from "./cache_loss.ts";
import { Passing } from "../../disk/passing.ts";
import { WriteBack } from "./write_back.ts";

const FUA: WriteOptions = Object.freeze({ fua: true });
const NO_FUA: WriteOptions = Object.freeze({ fua: false });

/**
 * Approximate maximum of dirty bytes. A flush writes them all, and must finish within the deadline of
 * a request.
 */
const MAX_DIRTY_BYTES = 64 << 20;

/** The time that `close` waits for unanswered requests of the inner disk, in milliseconds. */
const END_MS = 2_000;

/** The shape of a cache. */
export interface CacheShape {
  /** Maximum number of cached bytes. */
  readonly bytes: number;
  /** Bytes of a block. */
  readonly block: number;
  /** Whether a write is answered as soon as it is in the cache. */
  readonly writesBack: boolean;
}

/** A disk with a cache in front. */
export class Cached extends Passing {
  readonly #blocks: CacheBlocks;
  readonly #block: number;
  /** Undefined if the inner disk answers writes. */
  readonly #back: WriteBack | undefined;
  /** Gives each slow operation the cache to itself. Hits are instant and wait for nobody. */
  readonly #turns = new Turns();
  /**
   * The inner disk failed a flush or a write with FUA, and the cache no longer held all data that may
   * be lost. No later flush may succeed.
   */
  #broken = false;
  /** The inner disk refused a block in this turn. One is enough, because each may take seconds. */
  #refusing = false;
  #closed = false;

  /** Puts a cache in front of a disk. */
  constructor(inner: Backend, { bytes, block, writesBack }: CacheShape) {
    super(inner);
    this.#block = block;
    this.#blocks = new CacheBlocks(Math.floor(bytes / block), block, inner.size);
    this.#back = writesBack ? new WriteBack(inner, this.#blocks, block) : undefined;
    this.resize = undefined;
    this.readMetadata = undefined;
    this.writeMetadata = undefined;
    if (writesBack) {
      this.fua = true;
      this.persistent = false;
      this.close = () => this.#close();
    }
    if (writesBack || inner.flush !== undefined) {
      this.flush = () => this.#inTurn(() => this.#flush());
    }
    this.trim = inner.trim && ((offset, length) => this.#inTurn(() => this.#trim(offset, length)));
    this.writeZeroes = inner.writeZeroes &&
      ((offset, length, how) => this.#inTurn(() => this.#zero(offset, length, how.mayUnmap)));
  }

  override readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): Answer {
    if (this.#blocks.readAll(buffer, offset)) return;
    return this.#inTurn(() => this.#read(buffer, offset));
  }

  override writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number, { fua }: WriteOptions): Answer {
    const back = fua ? undefined : this.#back;
    if (back === undefined) return this.#inTurn(() => this.#writeThrough(buffer, offset, fua));
    const atOnce = this.#turns.idle && this.#blocks.dirtyBytes < MAX_DIRTY_BYTES;
    if (atOnce && this.#blocks.writeAll(buffer, offset)) return;
    return this.#inTurn(() => this.#writeBack(back, buffer, offset));
  }

  #inTurn(steps: () => Steps): Answer {
    return this.#turns.take(() => {
      if (this.#closed) throw closedError();
      this.#refusing = false;
      return take(steps(), () => this.#closed);
    });
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
      } else if (!(yield* this.#fill(block))) {
        // There is no room, or another part of the block cannot be read. This part may be readable.
        yield this.inner.readAt(buffer.subarray(at - offset, blockEnd - offset), at);
        at = blockEnd;
      }
    }
  }

  #covers(block: number, offset: number, end: number): boolean {
    const start = block * this.#block;
    return offset <= start && end >= start + this.#blocks.bytesOf(block);
  }

  /** Reads uncached blocks straight into the buffer. Returns the end of what was read. */
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
      if (slot === NO_SLOT) break;
      this.#blocks.set(slot, block, buffer, block * this.#block - offset);
    }
    return to;
  }

  /** Loads a block. Returns whether there was room and all of it could be read. */
  *#fill(block: number): Generator<Answer, boolean, void> {
    const slot = yield* this.#room();
    if (slot === NO_SLOT) return false;
    try {
      yield this.inner.readAt(this.#blocks.bytes(slot, block), block * this.#block);
    } catch {
      this.#blocks.free(slot);
      return false;
    }
    this.#blocks.put(slot, block);
    return true;
  }

  /** Takes an empty slot, or `NO_SLOT`. A block may have to be written before it is evicted. */
  *#room(): Generator<Answer, number, void> {
    const blocks = this.#blocks;
    // Repeat, because hits wait for nobody, so another slot may have become the oldest meanwhile.
    for (let slot = blocks.takeSlot();; slot = blocks.takeSlot()) {
      const oldest = blocks.oldest();
      if (slot !== NO_SLOT || oldest === NO_SLOT) return slot;
      if (this.#refusing) return blocks.takeCleanSlot();
      this.#refusing = !(yield* this.#back!.one(blocks.blockOf(oldest)));
    }
  }

  *#writeBack(back: WriteBack, buffer: Uint8Array<ArrayBuffer>, offset: number): Steps {
    if (this.#blocks.dirtyBytes >= MAX_DIRTY_BYTES) yield* back.fresh();
    const at = yield* this.#takeIn(buffer, offset, MAX_DIRTY_BYTES);
    if (at < offset + buffer.length) {
      yield* this.#writeThrough(buffer.subarray(at - offset), at, false);
    }
  }

  /**
   * Copies the buffer in as dirty while fewer than `most` bytes are dirty. Returns the end of the
   * copied part: there may be no room, or a block that changes in part cannot be read.
   */
  *#takeIn(
    buffer: Uint8Array<ArrayBuffer>,
    offset: number,
    most: number,
  ): Generator<Answer, number, void> {
    const end = offset + buffer.length;
    let at = offset;
    while (at < end && this.#blocks.dirtyBytes < most) {
      const block = Math.floor(at / this.#block);
      const blockEnd = Math.min(end, (block + 1) * this.#block);
      if (this.#blocks.write(block, buffer, offset, at, blockEnd)) {
        at = blockEnd;
      } else if (this.#covers(block, offset, end)) {
        const slot = yield* this.#room();
        if (slot === NO_SLOT) break;
        this.#blocks.set(slot, block, buffer, at - offset);
        this.#blocks.dirty(slot);
        at = blockEnd;
      } else if (!(yield* this.#fill(block))) break;
    }
    return at;
  }

  *#writeThrough(buffer: Uint8Array<ArrayBuffer>, offset: number, fua: boolean): Steps {
    const { inner } = this;
    const end = offset + buffer.length;
    const first = Math.floor(offset / this.#block);
    const endBlock = Math.ceil(end / this.#block);
    const durably = fua && inner.fua === true;
    if (durably) yield* this.#writeDurably(buffer, offset);
    else {
      const work = () => inner.writeAt(buffer, offset, NO_FUA);
      yield* this.#changeInside(offset, buffer.length, work);
    }
    const part = (block: number) => {
      const from = Math.max(offset, block * this.#block);
      return [from, Math.min(end, (block + 1) * this.#block)] as const;
    };
    // Update everything cached of the range first. Once room was made in between, which wrote a later
    // block of the same write, dirty with older data, over data that had been answered as durable.
    for (let block = first; block < endBlock; block++) {
      const [from, to] = part(block);
      this.#blocks.update(block, buffer, offset, from, to, durably);
    }
    // The disk has this data already, so no dirty block is written back to make room for it.
    for (let block = first; block < endBlock; block++) {
      if (this.#blocks.has(block)) continue;
      const slot = this.#covers(block, offset, end) ? this.#blocks.takeSlot() : NO_SLOT;
      if (slot !== NO_SLOT) {
        this.#blocks.set(slot, block, buffer, part(block)[0] - offset);
        this.#blocks.written(slot, durably);
      } else if (!durably) this.#blocks.passed();
    }
    if (fua && !durably) yield* this.#flushInside();
  }

  /**
   * Writes with FUA of the inner disk. For a file that is a write and then `fdatasync`, so a failure
   * may be that of a flush. It was once handled as a failed write: the next flush then succeeded
   * although blocks written back before were lost.
   */
  *#writeDurably(buffer: Uint8Array<ArrayBuffer>, offset: number): Steps {
    const work = () => this.inner.writeAt(buffer, offset, FUA);
    if (this.#back === undefined) return yield* this.#changeInside(offset, buffer.length, work);
    try {
      yield work();
    } catch (error) {
      this.#flushFailed();
      // The disk may return the new contents from now on and still lose them. Keep them dirty here, so
      // that the next flush makes them durable, or fails.
      const end = offset + buffer.length;
      const taken = yield* this.#takeIn(buffer, offset, Infinity);
      if (taken < end) {
        this.#broken = true;
        this.#blocks.dropClean(taken, end);
      }
      throw error;
    }
  }

  /** Writes all blocks it can, makes them durable, and then throws the error of a refused block. */
  *#flush(): Steps {
    const refused = this.#back === undefined ? undefined : yield* this.#back.all();
    yield* this.#flushInside();
    this.#checkWhole();
    if (refused !== undefined) throw refused.error;
  }

  *#flushInside(): Steps {
    try {
      yield this.inner.flush?.();
    } catch (error) {
      // A write-through cache answers no write by itself, so its flush is simply the disk's.
      if (this.#back !== undefined) this.#flushFailed();
      throw error;
    }
    if (!this.#broken) this.#blocks.flushed();
  }

  /**
   * Handles a failed flush. A disk reports a failure once, and may then have lost data that it had
   * accepted. So cached data is written once more before a flush can succeed again.
   */
  #flushFailed(): void {
    if (!this.#blocks.unflushed()) this.#broken = true;
  }

  #checkWhole(): void {
    if (!this.#broken) return;
    const reason = "an earlier flush has failed, and what it lost is not known";
    throw new UblkError("SYSCALL_FAILED", { operation: "wrapper cache", reason, errno: EIO });
  }

  /**
   * Writes all blocks it can, even if the inner disk has not answered a request: that request has
   * failed at its deadline, and must not keep the other blocks from being written.
   */
  #close(): Answer {
    if (this.#turns.idle) return this.#end();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, END_MS));
    const over = this.#turns.over.then(() => clearTimeout(timer));
    return Promise.race([over, late]).then(() => this.#end());
  }

  #end(): Answer {
    this.#closed = true;
    return take(this.#endSteps());
  }

  *#endSteps(): Steps {
    // A new one, because an unanswered write still uses the buffer of the other.
    const refused = yield* new WriteBack(this.inner, this.#blocks, this.#block).all(true);
    let failure: unknown;
    try {
      yield* this.#flushInside();
      this.#checkWhole();
    } catch (error) {
      failure = error;
    }
    if (refused !== undefined) throw lossError(refused);
    if (failure !== undefined) throw failure;
  }

  /** Changes a range of the inner disk, which may fail half way. */
  *#changeInside(offset: number, length: number, work: () => Answer): Steps {
    try {
      yield work();
    } catch (error) {
      // The contents of the inner disk are unknown now. Dirty blocks must still be written.
      this.#blocks.dropClean(offset, offset + length);
      this.#blocks.passed();
      throw error;
    }
  }

  *#trim(offset: number, length: number): Steps {
    yield* this.#changeInside(offset, length, () => this.inner.trim!(offset, length));
    const to = offset + length;
    // The disk's last block may be short.
    const end = to === this.size ? Math.ceil(to / this.#block) : Math.floor(to / this.#block);
    this.#blocks.drop(Math.ceil(offset / this.#block), end);
  }

  *#zero(offset: number, length: number, mayUnmap: boolean): Steps {
    const work = () => this.inner.writeZeroes!(offset, length, { mayUnmap });
    yield* this.#changeInside(offset, length, work);
    this.#blocks.zero(offset, offset + length);
    // Uncached zeroes cannot be written once more after a failed flush.
    this.#blocks.passed();
  }
}
