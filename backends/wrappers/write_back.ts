/**
 * Writes the dirty blocks of a cache to the disk inside, as many as that takes: one that it refuses
 * stays dirty, and stands in nobody's way.
 *
 * @module
 */

import type { Answer, Backend, WriteOptions } from "../../disk/backend.ts";
import type { CacheBlocks } from "./cache_blocks.ts";

/** The most that is written at a time, in bytes, where blocks lie side by side. */
const RUN_BYTES = 256 << 10;

/**
 * How long a pass goes on after the first refusal, in milliseconds. A disk that is dead refuses
 * everything, each write perhaps after seconds, and a flush has to be answered: what it leaves is
 * for the next one. No other pass follows at the end, which therefore begins to count anew with each
 * write that the disk takes.
 */
const TRYING_MS = 3_000;
/** The end gives up after no fewer refusals in a row, because one bad sector may take so long. */
const LEAST_REFUSALS = 4;

const NO_FUA: WriteOptions = Object.freeze({ fua: false });

/** A range of the disk in bytes. */
export interface Bytes {
  /** The first. */
  readonly from: number;
  /** The one after the last. */
  readonly to: number;
}

/** What a pass could not write. */
export interface Refused {
  /** The first error. */
  readonly error: unknown;
  /** Where, in the order of the disk. */
  readonly ranges: readonly Bytes[];
}

/** Blocks side by side. */
interface Run {
  readonly first: number;
  readonly end: number;
}

/** The way of dirty blocks to the disk inside. The caller sees to it that no two are under way. */
export class WriteBack {
  readonly #inner: Backend;
  readonly #blocks: CacheBlocks;
  readonly #block: number;
  readonly #scratch: Uint8Array<ArrayBuffer>;
  /** The error of the write that failed last. */
  #error: unknown;
  #givesUpMs = Infinity;
  /** Refusals in a row. */
  #refusals = 0;
  /** No other pass will follow. */
  #atEnd = false;

  /** For blocks of so many bytes. */
  constructor(inner: Backend, blocks: CacheBlocks, block: number) {
    this.#inner = inner;
    this.#blocks = blocks;
    this.#block = block;
    this.#scratch = new Uint8Array(Math.max(block, RUN_BYTES));
  }

  /** Writes a dirty block, and with it those that follow. Returns whether the disk took it. */
  *one(first: number): Generator<Answer, boolean, void> {
    const blocks = this.#blocks;
    this.#givesUpMs = Infinity;
    let end = first + 1;
    const most = this.#scratch.length / this.#block;
    while (end - first < most && blocks.isFresh(blocks.slotOf(end))) end++;
    if (yield* this.#write({ first, end })) return true;
    // One of those that follow may be to blame.
    if (end > first + 1 && (yield* this.#write({ first, end: first + 1 }))) return true;
    blocks.refused(blocks.slotOf(first));
    return false;
  }

  /** Writes what is dirty and was not refused before. */
  fresh(): Generator<Answer, Refused | undefined, void> {
    return this.#pass(this.#runs(this.#blocks.dirtyBlocks("fresh")));
  }

  /**
   * Writes all that is dirty, in the order of the disk; last what it refused before.
   *
   * @param atEnd No other pass will follow: of a block that is refused, its parts are written.
   * @returns What is still dirty, if anything.
   */
  all(atEnd = false): Generator<Answer, Refused | undefined, void> {
    // One by one: most of them it will refuse again.
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
    // The halves of what it refused, once all that is good has been written.
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
    // And then the parts of its blocks.
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

  /** Returns whether the disk took them all. */
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

  /** Writes the parts of a block that the disk takes; returns the others. */
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
    // Both halves first: one that is good says that the disk is not dead.
    const lost: Bytes[] = [];
    for (const half of refused) lost.push(...yield* this.#parts(half, least));
    return lost;
  }

  #bytesOf({ first, end }: Run): Bytes {
    const from = first * this.#block;
    return { from, to: (end - 1) * this.#block + this.#blocks.bytesOf(end - 1) };
  }
}
