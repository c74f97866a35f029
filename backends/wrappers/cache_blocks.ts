/**
 * The blocks of a cache: a fixed number of slots in one piece of memory. It tracks which slots were
 * used last, which are dirty, and which the disk may still lose. It never accesses the disk.
 *
 * @module
 */

import { Recency } from "./recency.ts";

/** No slot. */
export const NO_SLOT: number = -1;

/** The block equals the disk's, durably. */
const CLEAN = 0;
/** The block equals the disk's, but the disk was not flushed since it got it. */
const WRITTEN = 1;
/** The block is newer than the disk's. */
const DIRTY = 2;
/** The block is newer, and the disk refused it. It has no age, so that it is never evicted. */
const REFUSED = 3;

/** A number of slots, each with a block of the disk or free. */
export class CacheBlocks {
  readonly #block: number;
  readonly #diskBytes: number;
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #slots = new Map<number, number>();
  readonly #blockOf: Float64Array;
  readonly #state: Uint8Array;
  #dirtyCount = 0;
  /**
   * The disk may hold unflushed data that is not cached. Initially that is data of an earlier
   * server.
   */
  #passed = true;
  /** The order of use of the slots with a block, except blocks that the disk refused. */
  readonly #recency: Recency;
  readonly #free: number[] = [];
  #unused: number;

  /** Makes slots for `count` blocks of `block` bytes, of a disk of `diskBytes`. */
  constructor(count: number, block: number, diskBytes: number) {
    this.#block = block;
    this.#diskBytes = diskBytes;
    this.#memory = new Uint8Array(count * block);
    this.#blockOf = new Float64Array(count);
    this.#state = new Uint8Array(count);
    this.#recency = new Recency(count);
    this.#unused = count;
  }

  /** Bytes of a block. The disk's last block may be shorter. */
  bytesOf(block: number): number {
    return Math.min(this.#block, this.#diskBytes - block * this.#block);
  }

  /** Whether a block is cached. */
  has(block: number): boolean {
    return this.#slots.has(block);
  }

  /** The slot of a block, or {@linkcode NO_SLOT}. */
  slotOf(block: number): number {
    return this.#slots.get(block) ?? NO_SLOT;
  }

  /** The block of a slot. */
  blockOf(slot: number): number {
    return this.#blockOf[slot];
  }

  /** The memory of a slot that holds, or will hold, that block. */
  bytes(slot: number, block: number): Uint8Array<ArrayBuffer> {
    const at = slot * this.#block;
    return this.#memory.subarray(at, at + this.bytesOf(block));
  }

  /** The least recently used slot that the disk did not refuse, or {@linkcode NO_SLOT}. */
  oldest(): number {
    return this.#recency.oldest;
  }

  /**
   * Takes a free slot, or evicts the oldest block. {@linkcode NO_SLOT} if that block is newer than the
   * disk's.
   */
  takeSlot(): number {
    if (this.#free.length > 0) return this.#free.pop()!;
    if (this.#unused > 0) return --this.#unused;
    return this.#takeIfClean(this.oldest());
  }

  /** Takes a free slot, or evicts the oldest clean block, however new; else {@linkcode NO_SLOT}. */
  takeCleanSlot(): number {
    let slot = this.takeSlot();
    for (let next = this.oldest(); slot === NO_SLOT && next !== NO_SLOT;) {
      const after = this.#recency.after(next);
      slot = this.#takeIfClean(next);
      next = after;
    }
    return slot;
  }

  #takeIfClean(slot: number): number {
    if (slot === NO_SLOT || this.isDirty(slot)) return NO_SLOT;
    this.#forget(slot);
    return slot;
  }

  /** Frees a slot that was taken. */
  free(slot: number): void {
    this.#free.push(slot);
  }

  /** Assigns a block to a slot that was taken. */
  put(slot: number, block: number): void {
    this.#slots.set(block, slot);
    this.#blockOf[slot] = block;
    this.#recency.add(slot);
  }

  /** Assigns a block to a slot that was taken, and copies all of it from byte `at` of a buffer. */
  set(slot: number, block: number, buffer: Uint8Array, at: number): void {
    const bytes = this.bytes(slot, block);
    bytes.set(buffer.subarray(at, at + bytes.length));
    this.put(slot, block);
  }

  /** Whether a slot's block is newer than the disk's. */
  isDirty(slot: number): boolean {
    return slot !== NO_SLOT && this.#state[slot] >= DIRTY;
  }

  /** Whether a slot's block is newer than the disk's, and was not refused by the disk. */
  isFresh(slot: number): boolean {
    return slot !== NO_SLOT && this.#state[slot] === DIRTY;
  }

  /** Marks a slot's block as newer than the disk's. */
  dirty(slot: number): void {
    if (this.isDirty(slot)) return;
    this.#dirtyCount++;
    this.#state[slot] = DIRTY;
  }

  /** Notes that the disk refused a dirty block. */
  refused(slot: number): void {
    if (this.#state[slot] !== DIRTY) return;
    this.#state[slot] = REFUSED;
    this.#recency.remove(slot);
  }

  /** Notes that the disk has a slot's block, durably or until it loses power. */
  written(slot: number, durably = false): void {
    if (this.#state[slot] === REFUSED) this.#recency.add(slot);
    if (this.isDirty(slot)) this.#dirtyCount--;
    this.#state[slot] = durably ? CLEAN : WRITTEN;
  }

  /** Notes that the disk has a part of a slot's block; the rest keeps its state. */
  #partWritten(slot: number): void {
    if (this.#state[slot] === CLEAN) this.#state[slot] = WRITTEN;
  }

  /** Notes that the disk got data that is not cached, and may lose it until it is flushed. */
  passed(): void {
    this.#passed = true;
  }

  /** Notes that the disk was flushed. */
  flushed(): void {
    this.#passed = false;
    for (let slot = 0; slot < this.#state.length; slot++) {
      if (this.#state[slot] === WRITTEN) this.#state[slot] = CLEAN;
    }
  }

  /**
   * Notes that the disk failed to make data durable, and may have lost any unflushed data. All of it
   * that is cached becomes dirty again.
   *
   * @returns Whether the cache holds all data that may be lost.
   */
  unflushed(): boolean {
    for (let slot = 0; slot < this.#state.length; slot++) {
      if (this.#state[slot] === WRITTEN) this.dirty(slot);
    }
    return !this.#passed;
  }

  /** Bytes of dirty blocks. */
  get dirtyBytes(): number {
    return this.#dirtyCount * this.#block;
  }

  /** The dirty blocks in the order of the disk: either those that it refused, or the others. */
  dirtyBlocks(kind: "fresh" | "refused"): number[] {
    const state = kind === "fresh" ? DIRTY : REFUSED;
    const blocks: number[] = [];
    for (const [block, slot] of this.#slots) if (this.#state[slot] === state) blocks.push(block);
    return blocks.sort((a, b) => a - b);
  }

  /** Fills the buffer, if all of it is cached. */
  readAll(buffer: Uint8Array, offset: number): boolean {
    const end = offset + buffer.length;
    const endBlock = Math.ceil(end / this.#block);
    const first = Math.floor(offset / this.#block);
    for (let block = first; block < endBlock; block++) if (!this.has(block)) return false;
    for (let at = offset, block = first; at < end; block++) {
      const to = Math.min(end, (block + 1) * this.#block);
      this.read(block, buffer, offset, at, to);
      at = to;
    }
    return true;
  }

  /** Copies the buffer in as dirty, if all of its blocks are cached. */
  writeAll(buffer: Uint8Array, offset: number): boolean {
    const end = offset + buffer.length;
    const endBlock = Math.ceil(end / this.#block);
    const first = Math.floor(offset / this.#block);
    for (let block = first; block < endBlock; block++) if (!this.has(block)) return false;
    for (let at = offset, block = first; at < end; block++) {
      const to = Math.min(end, (block + 1) * this.#block);
      this.write(block, buffer, offset, at, to);
      at = to;
    }
    return true;
  }

  /** Reads bytes `from` to `to` of the disk, in one block, into a buffer that begins at `offset`. */
  read(block: number, buffer: Uint8Array, offset: number, from: number, to: number): boolean {
    const slot = this.slotOf(block);
    if (slot === NO_SLOT) return false;
    const at = slot * this.#block - block * this.#block;
    buffer.set(this.#memory.subarray(at + from, at + to), from - offset);
    this.#touch(slot);
    return true;
  }

  /** Copies such bytes from the buffer into the block, which becomes dirty. */
  write(block: number, buffer: Uint8Array, offset: number, from: number, to: number): boolean {
    const slot = this.slotOf(block);
    if (slot === NO_SLOT) return false;
    this.#copyIn(slot, block, buffer, offset, from, to);
    this.dirty(slot);
    return true;
  }

  /** Copies such bytes from the buffer. The disk has them already, durably or not. */
  update(
    block: number,
    buffer: Uint8Array,
    offset: number,
    from: number,
    to: number,
    durably: boolean,
  ): boolean {
    const slot = this.slotOf(block);
    if (slot === NO_SLOT) return false;
    this.#copyIn(slot, block, buffer, offset, from, to);
    // Other bytes of the block may still be newer than the disk's.
    if (to - from === this.bytesOf(block)) this.written(slot, durably);
    else if (!durably) this.#partWritten(slot);
    return true;
  }

  #copyIn(
    slot: number,
    block: number,
    buffer: Uint8Array,
    offset: number,
    from: number,
    to: number,
  ): void {
    const whole = from === offset && to === offset + buffer.length;
    const bytes = whole ? buffer : buffer.subarray(from - offset, to - offset);
    this.#memory.set(bytes, slot * this.#block + from - block * this.#block);
    this.#touch(slot);
  }

  /** Zeroes the cached parts of a range of the disk. */
  zero(from: number, to: number): void {
    this.#each(Math.floor(from / this.#block), Math.ceil(to / this.#block), (slot, block) => {
      const start = block * this.#block;
      const at = slot * this.#block;
      const first = Math.max(0, from - start);
      const end = Math.min(this.bytesOf(block), to - start);
      this.#memory.fill(0, at + first, at + end);
      if (first === 0 && end === this.bytesOf(block)) this.written(slot);
      else this.#partWritten(slot);
    });
  }

  /** Forgets blocks, dirty or not. */
  drop(first: number, end: number): void {
    this.#each(first, end, (slot) => {
      // The contents no longer matter, so it does not matter whether the disk loses them.
      this.written(slot, true);
      this.#forget(slot);
      this.#free.push(slot);
    });
  }

  /** Forgets cached blocks that overlap a range of the disk, unless they are dirty. */
  dropClean(from: number, to: number): void {
    this.#each(Math.floor(from / this.#block), Math.ceil(to / this.#block), (slot) => {
      if (this.isDirty(slot)) return;
      this.#forget(slot);
      this.#free.push(slot);
    });
  }

  /** Visits the cached blocks of a range, which may be far longer than the cache. */
  #each(first: number, end: number, visit: (slot: number, block: number) => void): void {
    if (end - first <= this.#slots.size) {
      for (let block = first; block < end; block++) {
        const slot = this.slotOf(block);
        if (slot !== NO_SLOT) visit(slot, block);
      }
      return;
    }
    for (const [block, slot] of this.#slots) {
      if (block >= first && block < end) visit(slot, block);
    }
  }

  #touch(slot: number): void {
    if (this.#state[slot] !== REFUSED) this.#recency.touch(slot);
  }

  /** Forgets a clean block. */
  #forget(slot: number): void {
    if (this.#state[slot] === WRITTEN) this.#passed = true;
    this.#state[slot] = CLEAN;
    this.#recency.remove(slot);
    this.#slots.delete(this.#blockOf[slot]);
  }
}
