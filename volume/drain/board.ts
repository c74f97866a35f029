/**
 * The board between an engine and its drain, which are two threads: memory that both see. The
 * engine's thread blocks in the kernel, so it gets no messages; it is woken by an eventfd. The
 * drain's thread sleeps in its event loop, and is woken by `Atomics.notify`.
 *
 * Each word has one writer. Three numbers that belong together, what the engine publishes, are
 * guarded by a count that is odd while they change. The entries of a commit are the drain's until it
 * says that they are there, then the engine's until it says that it has taken them.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { signalEventFd } from "../../uring/libc.ts";
import type { Commit, Drain } from "../engine.ts";
import type { SortedRuns } from "../map/block_map.ts";

// Words of the first part.
/** Counts up whenever the drain must look. */
const WAKE = 0;
/** 1 while the drain sleeps. */
const SLEEPS = 1;
/** Orders to the drain: bits that the engine's side sets and the drain's clears. */
const ORDERS = 2;
/** Odd while the published numbers change. */
const PUBLISHING = 3;
/** 1 while a commit waits to be taken over. */
const COMMIT = 4;
/** Its number of entries. */
const ENTRIES = 5;
/** 1 once the drain has failed for good. */
const FAILED = 6;
/** Bytes of the report that waits to be logged; 0 for none. */
const REPORT = 7;
/** Counts up when the drain has made a size durable, or has failed. */
const RESIZED = 8;
/** Counts the drain's looks at what was published. */
const LOOKS = 9;
/** Commits that no read of the engine is older than. */
const QUIET = 10;
/** 1 once the engine's writes to the journal have failed for good. */
const JOURNAL_FAILED = 11;
const WORDS = 16;

// Numbers of the second part.
const POSITION = 0;
const SEQUENCE = 1;
const WRITTEN = 2;
/** The position from which on the engine wakes a drain that sleeps. */
const WAKE_AT = 3;
const COMMIT_POSITION = 4;
/** The size that the disk is to have. */
const SIZE = 5;
const COMMIT_WRITTEN = 6;
/** The size that the drain has made durable last. */
const STORED_SIZE = 7;
const NUMBERS = 16;

/** The journal is full: drain now. */
export const ORDER_HURRY = 1;
/** Drain all of it, leave the volume in order, and end. */
export const ORDER_STOP = 4;

/** Give the disk another size. */
export const ORDER_RESIZE = 8;

const REPORT_BYTES = 2048;
/** How long the last line waits for the engine to take the one before, in milliseconds. */
const REPORT_MS = 1000;
/** Most entries of a commit. Pieces that a chunk's end divides are two. */
export const MAX_ENTRIES = (1 << 16) + (1 << 13);

/** The numbers that the engine has published. */
export interface Published {
  /** All before this position is in the journal. */
  readonly position: number;
  /** The sequence of its last batch. */
  readonly sequence: number;
  /** Bytes of data in all batches so far. */
  readonly written: number;
}

/** The memory. Both sides make one of it, over the same buffer. */
export class Board {
  /** The shared memory. */
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly numbers: Float64Array<SharedArrayBuffer>;
  readonly text: Uint8Array<SharedArrayBuffer>;
  readonly blocks: Float64Array<SharedArrayBuffer>;
  readonly places: Float64Array<SharedArrayBuffer>;
  readonly counts: Uint32Array<SharedArrayBuffer>;

  /** A new board, or another side's. */
  constructor(buffer?: SharedArrayBuffer) {
    const wordBytes = WORDS * 4;
    const numberBytes = NUMBERS * 8;
    const first = wordBytes + numberBytes + REPORT_BYTES;
    const bytes = first + MAX_ENTRIES * (8 + 8 + 4);
    this.buffer = buffer ?? new SharedArrayBuffer(bytes);
    assert(this.buffer.byteLength === bytes, "it is a board");
    this.words = new Int32Array(this.buffer, 0, WORDS);
    this.numbers = new Float64Array(this.buffer, wordBytes, NUMBERS);
    this.text = new Uint8Array(this.buffer, wordBytes + numberBytes, REPORT_BYTES);
    this.blocks = new Float64Array(this.buffer, first, MAX_ENTRIES);
    this.places = new Float64Array(this.buffer, first + MAX_ENTRIES * 8, MAX_ENTRIES);
    this.counts = new Uint32Array(this.buffer, first + MAX_ENTRIES * 16, MAX_ENTRIES);
  }

  /** Makes the drain look. */
  wakeDrain(): void {
    Atomics.add(this.words, WAKE, 1);
    Atomics.notify(this.words, WAKE);
  }

  /** Gives the drain an order. */
  order(order: number): void {
    Atomics.or(this.words, ORDERS, order);
    this.wakeDrain();
  }
}

/** The engine's side. */
export class EngineSide implements Drain {
  readonly wakeFd: number;
  readonly #board: Board;
  readonly #runs: {
    blocks: Float64Array;
    counts: Uint32Array;
    places: Float64Array;
    length: number;
  };
  readonly #commit: { extents: SortedRuns; position: number; written: number };

  /** @param wakeFd The eventfd that wakes the engine. */
  constructor(board: Board, wakeFd: number) {
    this.#board = board;
    this.wakeFd = wakeFd;
    const { blocks, counts, places } = board;
    this.#runs = { blocks, counts, places, length: 0 };
    this.#commit = { extents: this.#runs, position: 0, written: 0 };
  }

  published(position: number, sequence: number, written: number): void {
    const { words, numbers } = this.#board;
    Atomics.add(words, PUBLISHING, 1);
    numbers[POSITION] = position;
    numbers[SEQUENCE] = sequence;
    numbers[WRITTEN] = written;
    Atomics.add(words, PUBLISHING, 1);
    if (Atomics.load(words, SLEEPS) === 0 || position < numbers[WAKE_AT]) return;
    Atomics.store(words, SLEEPS, 0);
    this.#board.wakeDrain();
  }

  journalFailed(): void {
    Atomics.store(this.#board.words, JOURNAL_FAILED, 1);
  }

  hurry(): void {
    if ((Atomics.load(this.#board.words, ORDERS) & ORDER_HURRY) !== 0) return;
    this.#board.order(ORDER_HURRY);
  }

  commit(): Commit | undefined {
    const { words, numbers } = this.#board;
    if (Atomics.load(words, COMMIT) === 0) return undefined;
    this.#runs.length = Atomics.load(words, ENTRIES);
    this.#commit.position = numbers[COMMIT_POSITION];
    this.#commit.written = numbers[COMMIT_WRITTEN];
    return this.#commit;
  }

  taken(): void {
    Atomics.store(this.#board.words, COMMIT, 0);
    this.#board.wakeDrain();
  }

  quiet(commits: number): void {
    Atomics.store(this.#board.words, QUIET, commits);
    this.#board.wakeDrain();
  }

  get looks(): number {
    return Atomics.load(this.#board.words, LOOKS);
  }

  get hasFailed(): boolean {
    return Atomics.load(this.#board.words, FAILED) !== 0;
  }

  /**
   * Has the drain make another size of the disk durable, and blocks this thread until it has.
   *
   * @returns Whether it has in time.
   */
  resize(size: number, ms: number): boolean {
    const { words } = this.#board;
    const end = performance.now() + ms;
    this.#orderSize(size);
    for (;;) {
      const before = Atomics.load(words, RESIZED);
      const isStored = this.#isStored(size, end);
      if (isStored !== undefined) return isStored;
      Atomics.wait(words, RESIZED, before, end - performance.now());
    }
  }

  /** The same, while this thread goes on. One at a time. */
  async resizeLater(size: number, ms: number): Promise<boolean> {
    const { words } = this.#board;
    const end = performance.now() + ms;
    this.#orderSize(size);
    for (;;) {
      const before = Atomics.load(words, RESIZED);
      const isStored = this.#isStored(size, end);
      if (isStored !== undefined) return isStored;
      await Atomics.waitAsync(words, RESIZED, before, end - performance.now()).value;
    }
  }

  #orderSize(size: number): void {
    const { numbers } = this.#board;
    numbers[SIZE] = size;
    // An earlier size may be the same one.
    numbers[STORED_SIZE] = -1;
    this.#board.order(ORDER_RESIZE);
  }

  /** Whether a size is durable; undefined as long as that is open. */
  #isStored(size: number, end: number): boolean | undefined {
    if (this.#board.numbers[STORED_SIZE] === size) return true;
    return this.hasFailed || performance.now() >= end ? false : undefined;
  }

  report(): string | undefined {
    const { words, text } = this.#board;
    const bytes = Atomics.load(words, REPORT);
    if (bytes === 0) return undefined;
    const line = new TextDecoder().decode(text.slice(0, bytes));
    Atomics.store(words, REPORT, 0);
    Atomics.notify(words, REPORT);
    return line;
  }
}

/** The drain's side. */
export class DrainSide {
  readonly #board: Board;
  readonly #wakeFd: number;

  /** @param wakeFd The eventfd that wakes the engine. */
  constructor(board: Board, wakeFd: number) {
    this.#board = board;
    this.#wakeFd = wakeFd;
  }

  /** Looks what the engine has published last: a commit may end there. */
  look(): Published {
    Atomics.add(this.#board.words, LOOKS, 1);
    return this.published();
  }

  /** The numbers that the engine has published last. */
  published(): Published {
    const { words, numbers } = this.#board;
    for (;;) {
      const before = Atomics.load(words, PUBLISHING);
      const published = {
        position: numbers[POSITION],
        sequence: numbers[SEQUENCE],
        written: numbers[WRITTEN],
      };
      // Adds nothing, but a write holds back what was read before it. A load would not: on ARM the plain
      // reads could come after it, and the numbers of two publications pass for one.
      const after = Atomics.add(words, PUBLISHING, 0);
      if ((before & 1) === 0 && after === before) return published;
    }
  }

  /** Whether the engine's writes to the journal have failed for good. */
  get hasJournalFailed(): boolean {
    return Atomics.load(this.#board.words, JOURNAL_FAILED) === 1;
  }

  /** Orders that have not been carried out. */
  get orders(): number {
    return Atomics.load(this.#board.words, ORDERS);
  }

  /** Notes that orders were carried out. */
  carriedOut(orders: number): void {
    Atomics.and(this.#board.words, ORDERS, ~orders);
  }

  /** Takes the order to resize. @returns The size that the disk is to have, in bytes. */
  takeSize(): number {
    // In this order: another size that comes now is another order.
    this.carriedOut(ORDER_RESIZE);
    return this.#board.numbers[SIZE];
  }

  /** Takes the order to resize back: it is to be carried out later. */
  keepSize(): void {
    Atomics.or(this.#board.words, ORDERS, ORDER_RESIZE);
  }

  /** Tells the engine's thread that a size is durable. */
  resized(size: number): void {
    this.#board.numbers[STORED_SIZE] = size;
    Atomics.add(this.#board.words, RESIZED, 1);
    Atomics.notify(this.#board.words, RESIZED);
  }

  /** Whether the engine has not taken over the last commit yet. */
  get isHandingOver(): boolean {
    return Atomics.load(this.#board.words, COMMIT) !== 0;
  }

  /** Hands a commit over. */
  handOver({ extents, position, written }: Commit): void {
    const { words, numbers, blocks, places, counts } = this.#board;
    assert(!this.isHandingOver, "one commit at a time");
    assert(extents.length <= MAX_ENTRIES, "a commit has no more entries than the board");
    blocks.set(extents.blocks.subarray(0, extents.length));
    places.set(extents.places.subarray(0, extents.length));
    counts.set(extents.counts.subarray(0, extents.length));
    numbers[COMMIT_POSITION] = position;
    numbers[COMMIT_WRITTEN] = written;
    Atomics.store(words, ENTRIES, extents.length);
    Atomics.store(words, COMMIT, 1);
    signalEventFd(this.#wakeFd);
  }

  /** Commits that were handed over and that no read of the engine is older than. */
  get quiet(): number {
    return Atomics.load(this.#board.words, QUIET);
  }

  /** Tells the engine that nothing will be drained any more, and why. What comes after the first is dropped. */
  fail(line: string): void {
    const { words } = this.#board;
    if (Atomics.load(words, FAILED) !== 0) return;
    // At once: the engine answers FLUSHes until it knows, and perhaps a sync of the journal has failed.
    this.ended();
    // This line is not to be dropped: nobody else says it.
    const before = Atomics.load(words, REPORT);
    if (before !== 0) Atomics.wait(words, REPORT, before, REPORT_MS);
    this.report(line);
  }

  /** Tells the engine that nothing will be drained any more. Somebody else has said why. */
  ended(): void {
    const { words } = this.#board;
    Atomics.store(words, FAILED, 1);
    // Nobody waits for a size in vain.
    Atomics.add(words, RESIZED, 1);
    Atomics.notify(words, RESIZED);
    signalEventFd(this.#wakeFd);
  }

  /** Has the engine log a line. One that comes while another waits is dropped. */
  report(line: string): void {
    const { words, text } = this.#board;
    if (Atomics.load(words, REPORT) !== 0) return;
    const bytes = new TextEncoder().encode(line).subarray(0, REPORT_BYTES);
    text.set(bytes);
    Atomics.store(words, REPORT, bytes.length);
    signalEventFd(this.#wakeFd);
  }

  /** Has the drain look again, on its own side. */
  wake(): void {
    this.#board.wakeDrain();
  }

  /** The count to give to {@linkcode sleep}: take it before looking for work. */
  get wakes(): number {
    return Atomics.load(this.#board.words, WAKE);
  }

  /**
   * Sleeps until the engine's side has something new, the journal has grown to a position, or the
   * time is over.
   *
   * @param wakes What {@linkcode wakes} was before there was nothing to do.
   */
  async sleep(wakes: number, wakeAt: number, ms: number): Promise<void> {
    const { words, numbers } = this.#board;
    numbers[WAKE_AT] = wakeAt;
    Atomics.store(words, SLEEPS, 1);
    // A batch that was published before SLEEPS was set has woken nobody.
    if (this.published().position < wakeAt) {
      const waits = Atomics.waitAsync(words, WAKE, wakes, ms);
      if (waits.async) await waits.value;
    }
    Atomics.store(words, SLEEPS, 0);
  }
}
