/**
 * Writes the dirty blocks of a cache to the inner disk. A block that the disk refuses stays dirty, and
 * does not stop the others.
 *
 * @module
 */

import type { Answer, Backend, WriteOptions } from "../../disk/backend.ts";
import type { CacheBlocks } from "./cache_blocks.ts";

/** The maximum of bytes in one write of adjacent blocks. */
const RUN_BYTES = 256 << 10;

/**
 * The time that a pass continues after the first refusal, in milliseconds. A dead disk refuses
 * everything, each write perhaps after seconds, and a flush must be answered in time; the next flush
 * writes the rest. No other pass follows the last one, so in that pass the time restarts with each
 * write that the disk accepts.
 */
const TRYING_MS = 3_000;
/** The last pass needs this many refusals in a row to give up: one bad sector may take that long. */
const LEAST_REFUSALS = 4;

const NO_FUA: WriteOptions = Object.freeze({ fua: false });

/** A range of the disk in bytes. */
export interface Bytes {
  /** The first byte. */
  readonly from: number;
  /** The byte after the last. */
  readonly to: number;
}

/** The ranges that a pass could not write. */
export interface Refused {
  /** The first error. */
  readonly error: unknown;
  /** The ranges, in the order of the disk. */
  readonly ranges: readonly Bytes[];
}

/** Adjacent blocks. */
interface Run {
  readonly first: number;
  readonly end: number;
}

/** Writes dirty blocks to the inner disk. The caller must not run two calls at the same time. */
export class WriteBack {
  readonly #inner: Backend;
  readonly #blocks: CacheBlocks;
  readonly #block: number;
  readonly #scratch: Uint8Array<ArrayBuffer>;
  /** The error of the last failed write. */
  #error: unknown;
  #givesUpMs = Infinity;
  /** Refusals in a row. */
  #refusals = 0;
  /** This pass is the last one. */
  #atEnd = false;

  /** Makes a writer for a cache with blocks of `block` bytes. */
  constructor(inner: Backend, blocks: CacheBlocks, block: number) {
    this.#inner = inner;
    this.#blocks = blocks;
    this.#block = block;
    this.#scratch = new Uint8Array(Math.max(block, RUN_BYTES));
  }

  /** Writes a dirty block and its dirty successors. Returns whether the disk accepted the block. */
  *one(first: number): Generator<Answer, boolean, void> {
    const blocks = this.#blocks;
    this.#givesUpMs = Infinity;
    let end = first + 1;
    const most = this.#scratch.length / this.#block;
    while (end - first < most && blocks.isFresh(blocks.slotOf(end))) end++;
    if (yield* this.#write({ first, end })) return true;
    // One of the successors may be to blame.
    if (end > first + 1 && (yield* this.#write({ first, end: first + 1 }))) return true;
    blocks.refused(blocks.slotOf(first));
    return false;
  }

  /** Writes the dirty blocks that were not refused before. */
  fresh(): Generator<Answer, Refused | undefined, void> {
    return this.#pass(this.#runs(this.#blocks.dirtyBlocks("fresh")));
  }

  /**
   * Writes all dirty blocks in the order of the disk; last the blocks that it refused before.
   *
   * @param atEnd No other pass will follow, so the parts of a refused block are written one by one.
   * @returns The ranges that are still dirty, if any.
   */
  all(atEnd = false): Generator<Answer, Refused | undefined, void> {
    // One by one, because the disk will refuse most of them again.
    const again = this.#blocks.dirtyBlocks("refused").map((one) => ({ first: one, end: one + 1 }));
    this.#atEnd = atEnd;
    return this.#pass([...this.#runs(this.#blocks.dirtyBlocks("fresh")), ...again]);
  }

  *#pass(runs: readonly Run[]): Generator<Answer, Refused | undefined, void> {
    this.#givesUpMs = Infinity;
    let error: unknown;
    const refused: Run[] = [];
    for (const run of runs) {
      if (yield* this.#write(run)) continue;
      error ??= this.#error;
      refused.push(run);
    }
    const ranges: Bytes[] = [];
    const bad: Bytes[] = [];
    // After all good runs, write the halves of refused ones.
    for (const run of refused) {
      if (this.#isLate) {
        ranges.push(this.#bytesOf(run));
      } else if (run.end - run.first > 1) {
        const middle = Math.floor((run.first + run.end) / 2);
        for (const half of [{ ...run, end: middle }, { ...run, first: middle }]) {
          if (!(yield* this.#write(half))) refused.push(half);
        }
      } else {
        this.#blocks.refused(this.#blocks.slotOf(run.first));
        bad.push(this.#bytesOf(run));
      }
    }
    // Then the parts of refused blocks.
    for (const bytes of bad) {
      if (this.#atEnd) ranges.push(...yield* this.#parts(bytes, this.#inner.blockSize ?? 512));
      else ranges.push(bytes);
    }
    if (ranges.length === 0) return undefined;
    return { error, ranges: ranges.sort((a, b) => a.from - b.from) };
  }

  get #isLate(): boolean {
    if (this.#atEnd && this.#refusals < LEAST_REFUSALS) return false;
    return performance.now() > this.#givesUpMs;
  }

  #runs(dirty: readonly number[]): Run[] {
    const most = this.#scratch.length / this.#block;
    const runs: Run[] = [];
    for (const block of dirty) {
      const last = runs.at(-1);
      if (last?.end === block && block - last.first < most) {
        runs[runs.length - 1] = { ...last, end: block + 1 };
      } else runs.push({ first: block, end: block + 1 });
    }
    return runs;
  }

  /** Writes a run. Returns whether the disk accepted all of it. */
  *#write({ first, end }: Run): Generator<Answer, boolean, void> {
    const blocks = this.#blocks;
    let bytes = 0;
    for (let block = first; block < end; block++) {
      const content = blocks.bytes(blocks.slotOf(block), block);
      this.#scratch.set(content, bytes);
      bytes += content.length;
    }
    if (!(yield* this.#put(this.#scratch.subarray(0, bytes), first * this.#block))) return false;
    for (let block = first; block < end; block++) blocks.written(blocks.slotOf(block));
    return true;
  }

  *#put(bytes: Uint8Array<ArrayBuffer>, offset: number): Generator<Answer, boolean, void> {
    if (this.#isLate) return false;
    try {
      yield this.#inner.writeAt(bytes, offset, NO_FUA);
      this.#refusals = 0;
      if (this.#atEnd) this.#givesUpMs = Infinity;
      return true;
    } catch (error) {
      this.#error = error;
      this.#refusals++;
      if (this.#givesUpMs === Infinity) this.#givesUpMs = performance.now() + TRYING_MS;
      return false;
    }
  }

  /** Writes the parts of a block that the disk accepts. Returns the others. */
  *#parts({ from, to }: Bytes, least: number): Generator<Answer, Bytes[], void> {
    if (to - from <= least) return [{ from, to }];
    const middle = from + Math.ceil((to - from) / 2 / least) * least;
    const block = Math.floor(from / this.#block);
    const content = this.#blocks.bytes(this.#blocks.slotOf(block), block);
    const refused: Bytes[] = [];
    for (const half of [{ from, to: middle }, { from: middle, to }]) {
      const at = half.from - block * this.#block;
      const bytes = this.#scratch.subarray(0, half.to - half.from);
      bytes.set(content.subarray(at, at + bytes.length));
      if (!(yield* this.#put(bytes, half.from))) refused.push(half);
    }
    // Both halves before smaller parts: a good half shows that the disk is not dead.
    const lost: Bytes[] = [];
    for (const half of refused) lost.push(...yield* this.#parts(half, least));
    return lost;
  }

  #bytesOf({ first, end }: Run): Bytes {
    const from = first * this.#block;
    return { from, to: (end - 1) * this.#block + this.#blocks.bytesOf(end - 1) };
  }
}
