/**
 * The board between an engine and whoever fetches for it: memory that both see, if they are two
 * threads. The engine asks for a run of a chunk's bytes and says in which places in memory, each of a
 * line, they shall lie. A fetch belongs to the engine until it asks, then to the fetching side until
 * that says that it has ended.
 *
 * @module
 */

import { assert, fail } from "../../uapi/error.ts";

/** Most fetches at once. */
export const MOST_FETCHES = 16;
/** Most lines of one fetch: 1 MiB. */
export const FETCH_LINES = 16;

/** The bytes have come. */
export const CAME = 0;
/** The object is not there. */
export const MISSING = 1;
/** Something else came: to fetch it again may help. */
export const CORRUPT = 2;
/** The store has failed for good. */
export const FAILED = 3;
/** The store was away for as long as a fetch is tried: to fetch it again may help. */
export const AWAY = 4;

// States.
const FREE = 0;
const ASKED = 1;
const RUNS = 2;
const ENDED = 3;

// Words of the first part.
const WAKE = 0;
const REPORT = 1;
const STOP = 2;
/** Bytes of the line that says why nothing is fetched any more; 0 as long as something is. */
const FAILURE = 3;
const WORDS = 4;
// Words of each fetch.
const STATE = 0;
const OUTCOME = 1;
const LINES = 2;
const MAY_END = 3;
const TEXT = 4;
const PLACES = 5;
const LENGTHS = PLACES + FETCH_LINES;
const FETCH_WORDS = LENGTHS + FETCH_LINES;
// Numbers of each fetch.
const CHUNK = 0;
const OFFSET = 1;
const BYTES = 2;
const FETCH_NUMBERS = 4;

const TEXT_BYTES = 512;
// Texts after those of the fetches.
const REPORT_TEXT = MOST_FETCHES;
const FAILURE_TEXT = MOST_FETCHES + 1;
const TEXTS = MOST_FETCHES + 2;

/** The range that is to be fetched. */
export interface FetchOrder {
  /** The chunk. */
  readonly chunk: number;
  /** Bytes from the start of the object. */
  readonly offset: number;
  /** Bytes. */
  readonly bytes: number;
  /** The object may end within them. */
  readonly mayEnd: boolean;
  /** The place of each line, in the order of the bytes. */
  readonly places: Int32Array;
  /** The bytes of each line. */
  readonly lengths: Int32Array;
}

/** The memory. Both sides make one of it, over the same buffer. */
export class FetchBoard {
  /** The shared memory. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #numbers: Float64Array<SharedArrayBuffer>;
  readonly #texts: Uint8Array<SharedArrayBuffer>;
  #hasTakenFailure = false;

  /** A new board, or another side's. */
  constructor(buffer?: SharedArrayBuffer) {
    const numberBytes = MOST_FETCHES * FETCH_NUMBERS * 8;
    const words = WORDS + MOST_FETCHES * FETCH_WORDS;
    const texts = TEXTS * TEXT_BYTES;
    const bytes = numberBytes + words * 4 + texts;
    this.buffer = buffer ?? new SharedArrayBuffer(bytes);
    assert(this.buffer.byteLength === bytes, "it is a board of fetches");
    this.#numbers = new Float64Array(this.buffer, 0, MOST_FETCHES * FETCH_NUMBERS);
    this.#words = new Int32Array(this.buffer, numberBytes, words);
    this.#texts = new Uint8Array(this.buffer, numberBytes + words * 4, texts);
  }

  // The engine's side.

  /** A fetch that is free, or -1. */
  free(): number {
    return this.#find(FREE);
  }

  /**
   * Asks for a run of bytes. The lines are the first `lines` of `places`, with so many bytes each.
   * {@linkcode wake} is to follow, if the fetching side is another thread.
   */
  ask(
    fetch: number,
    chunk: number,
    offset: number,
    bytes: number,
    mayEnd: boolean,
    places: Int32Array,
    lengths: Int32Array,
    lines: number,
  ): void {
    const at = WORDS + fetch * FETCH_WORDS;
    if (this.#words[at + STATE] !== FREE) fail("a fetch is asked for once");
    this.#words[at + LINES] = lines;
    this.#words[at + MAY_END] = mayEnd ? 1 : 0;
    for (let line = 0; line < lines; line++) {
      this.#words[at + PLACES + line] = places[line];
      this.#words[at + LENGTHS + line] = lengths[line];
    }
    const number = fetch * FETCH_NUMBERS;
    this.#numbers[number + CHUNK] = chunk;
    this.#numbers[number + OFFSET] = offset;
    this.#numbers[number + BYTES] = bytes;
    Atomics.store(this.#words, at + STATE, ASKED);
  }

  /** A fetch that has ended, or -1. */
  ended(): number {
    return this.#find(ENDED);
  }

  /** How it has ended. */
  outcome(fetch: number): number {
    return this.#words[WORDS + fetch * FETCH_WORDS + OUTCOME];
  }

  /** Its number of lines. */
  lines(fetch: number): number {
    return this.#words[WORDS + fetch * FETCH_WORDS + LINES];
  }

  /** The place of one of its lines. */
  place(fetch: number, line: number): number {
    return this.#words[WORDS + fetch * FETCH_WORDS + PLACES + line];
  }

  /** The number of bytes that have come. */
  bytes(fetch: number): number {
    return this.#numbers[fetch * FETCH_NUMBERS + BYTES];
  }

  /** Why it has failed; empty if nothing is fetched any more. */
  text(fetch: number): string {
    return this.#textOf(fetch, this.#words[WORDS + fetch * FETCH_WORDS + TEXT]);
  }

  /** Makes an ended fetch free. */
  release(fetch: number): void {
    Atomics.store(this.#words, WORDS + fetch * FETCH_WORDS + STATE, FREE);
  }

  /** A line for the log that waits, if one does. */
  takeReport(): string | undefined {
    const bytes = Atomics.load(this.#words, REPORT);
    if (bytes === 0) return undefined;
    const line = this.#textOf(REPORT_TEXT, bytes);
    Atomics.store(this.#words, REPORT, 0);
    return line;
  }

  /** Whether nothing is fetched any more. */
  get hasFailed(): boolean {
    return Atomics.load(this.#words, FAILURE) !== 0;
  }

  /** The line that says why nothing is fetched any more, once. */
  takeFailure(): string | undefined {
    if (!this.hasFailed || this.#hasTakenFailure) return undefined;
    this.#hasTakenFailure = true;
    return this.#textOf(FAILURE_TEXT, Atomics.load(this.#words, FAILURE));
  }

  /** Ends all fetches, in place of the fetching side, which {@linkcode fail} has ended. */
  endAll(): void {
    for (let fetch = 0; fetch < MOST_FETCHES; fetch++) {
      const state = Atomics.load(this.#words, WORDS + fetch * FETCH_WORDS + STATE);
      if (state === ASKED || state === RUNS) this.end(fetch, FAILED, 0);
    }
  }

  /** Ends the fetching side. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
    this.wake();
  }

  /** Makes the fetching side look. */
  wake(): void {
    Atomics.add(this.#words, WAKE, 1);
    Atomics.notify(this.#words, WAKE);
  }

  // The fetching side.

  /** Takes a fetch that was asked for, or -1. */
  take(): number {
    const fetch = this.#find(ASKED);
    if (fetch >= 0) Atomics.store(this.#words, WORDS + fetch * FETCH_WORDS + STATE, RUNS);
    return fetch;
  }

  /** The range that is to be fetched. */
  order(fetch: number): FetchOrder {
    const at = WORDS + fetch * FETCH_WORDS;
    const number = fetch * FETCH_NUMBERS;
    return {
      chunk: this.#numbers[number + CHUNK],
      offset: this.#numbers[number + OFFSET],
      bytes: this.#numbers[number + BYTES],
      mayEnd: this.#words[at + MAY_END] !== 0,
      places: this.#words.slice(at + PLACES, at + PLACES + this.#words[at + LINES]),
      lengths: this.#words.slice(at + LENGTHS, at + LENGTHS + this.#words[at + LINES]),
    };
  }

  /** A fetch has ended. */
  end(fetch: number, outcome: number, bytes: number, text = ""): void {
    const at = WORDS + fetch * FETCH_WORDS;
    this.#words[at + OUTCOME] = outcome;
    this.#words[at + TEXT] = this.#setText(fetch, text);
    this.#numbers[fetch * FETCH_NUMBERS + BYTES] = bytes;
    Atomics.store(this.#words, at + STATE, ENDED);
  }

  /** Has the engine log a line. One that comes while another waits is dropped. */
  report(line: string): void {
    if (Atomics.load(this.#words, REPORT) !== 0) return;
    Atomics.store(this.#words, REPORT, this.#setText(REPORT_TEXT, line));
  }

  /**
   * Nothing is fetched any more. What comes after the first is dropped. From then on fetches and places
   * are the engine's, which is to be woken.
   */
  fail(line: string): void {
    if (!this.hasFailed) Atomics.store(this.#words, FAILURE, this.#setText(FAILURE_TEXT, line));
  }

  /** Whether the fetching side is to end. */
  get isStopped(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }

  /** The count to give to {@linkcode sleep}: take it before looking for work. */
  get wakes(): number {
    return Atomics.load(this.#words, WAKE);
  }

  /** Sleeps until the engine's side has something new. */
  async sleep(wakes: number): Promise<void> {
    const waits = Atomics.waitAsync(this.#words, WAKE, wakes);
    if (waits.async) await waits.value;
  }

  #find(state: number): number {
    for (let fetch = 0; fetch < MOST_FETCHES; fetch++) {
      if (Atomics.load(this.#words, WORDS + fetch * FETCH_WORDS + STATE) === state) return fetch;
    }
    return -1;
  }

  #textOf(nth: number, bytes: number): string {
    const at = nth * TEXT_BYTES;
    return new TextDecoder().decode(this.#texts.slice(at, at + bytes));
  }

  /** @returns The number of bytes. */
  #setText(nth: number, text: string): number {
    const bytes = new TextEncoder().encode(text).subarray(0, TEXT_BYTES);
    this.#texts.set(bytes, nth * TEXT_BYTES);
    return bytes.length;
  }
}
