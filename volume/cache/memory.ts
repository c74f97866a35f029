/**
 * Lines in memory: brings them there, from the cache's file or from the store, each only once at a
 * time, and keeps as many of the last ones as there is room for.
 *
 * Lines that follow each other and are wanted in the same batch are fetched by one call. Those that
 * somebody waits for go before those that are read ahead, for which some calls are never used.
 *
 * @module
 */

import type { EngineHost, EngineMemory } from "../../disk/engine.ts";
import { assert } from "../../uapi/error.ts";
import { AT, type VolumeCounters } from "../counters.ts";
import { kindOf, LINE_READ, LINE_WRITE, nthOfToken, tokenOf } from "../tokens.ts";
import { Waiting } from "../journal/requests.ts";
import type { CacheFile } from "./cache_file.ts";
import { AWAY, CAME, CORRUPT, FETCH_LINES, type FetchBoard, MOST_FETCHES } from "./fetch_board.ts";
import { chunkOfLine, isTableLine } from "./lines.ts";
import { Places } from "./places.ts";

// States of a place.
const NOTHING = 0;
/** In a row, to be fetched. */
const WANTED = 1;
const FETCHED = 2;
/** Being read from the cache's file. */
const READ = 3;
/** There. */
const READY = 4;

// Rows that a place is in.
const IN_WANTED = 1;
const IN_AHEAD = 2;

/** Lines that are read from the cache's file into memory at once. */
const MOST_READS = 64;
/** Calls of the store that reading ahead leaves to others. */
const RESERVED = 4;
/** How often bytes are fetched that are not what they should be. */
const MOST_TRIES = 3;

/** Whom the lines are for. */
export interface LinesOwner {
  /** Whether what has come is what the line should be, as far as that can be told. */
  lineIsSound(place: number): boolean;
  /** A line has come. It may be told to {@linkcode LineMemory.forget} it. */
  lineCame(key: number): void;
  /** Whether somebody waits for a line whose time to wait is not over. */
  isAwaited(key: number): boolean;
  /** The name of the object that a line is of. */
  nameOf(key: number): string;
  /** A line cannot be had. The words are told once for several lines. */
  lineFailed(key: number, words: string | undefined): void;
}

/** The parts of a {@linkcode LineMemory}. */
export interface LineMemoryParts {
  /** Bytes of a line. */
  readonly line: number;
  /** Whole lines of memory. */
  readonly memory: EngineMemory;
  /** Who fetches. */
  readonly board: FetchBoard;
  /** Makes the fetching side look at the board. */
  readonly asked: () => void;
  /** The cache's file, if there is one. */
  readonly file?: CacheFile;
  /** Counts. */
  readonly counters: VolumeCounters;
  /** Most lines that are read ahead at once. */
  readonly mostAhead: number;
}

/** Lines in memory. */
export class LineMemory {
  /** Most operations under way at once. */
  readonly operations: number;
  readonly #parts: LineMemoryParts;
  readonly #places: Places;
  #owner!: LinesOwner;
  #host!: EngineHost;
  /** Per place. */
  readonly #state: Uint8Array<ArrayBuffer>;
  readonly #rows: Uint8Array<ArrayBuffer>;
  readonly #isAhead: Uint8Array<ArrayBuffer>;
  readonly #tries: Uint8Array<ArrayBuffer>;
  readonly #mayEnd: Uint8Array<ArrayBuffer>;
  readonly #bytes: Int32Array<ArrayBuffer>;
  readonly #offset: Float64Array<ArrayBuffer>;
  readonly #slot: Int32Array<ArrayBuffer>;
  readonly #wanted: Waiting;
  readonly #ahead: Waiting;
  /** The places of a fetch that is put together. */
  readonly #run = new Int32Array(FETCH_LINES);
  /** Their bytes. */
  readonly #runBytes = new Int32Array(FETCH_LINES);
  /** Lines on their way that nobody has asked for. */
  #aheadCount = 0;
  #reads = 0;
  #fetches = 0;

  /** Takes over the parts. */
  constructor(parts: LineMemoryParts) {
    const count = Math.floor(parts.memory.bytes.length / parts.line);
    assert(count > 0, "memory has a line");
    this.#parts = parts;
    this.operations = MOST_READS + (parts.file?.operations ?? 0);
    this.#places = new Places(new Float64Array(count));
    this.#state = new Uint8Array(count);
    this.#rows = new Uint8Array(count);
    this.#isAhead = new Uint8Array(count);
    this.#tries = new Uint8Array(count);
    this.#mayEnd = new Uint8Array(count);
    this.#bytes = new Int32Array(count);
    this.#offset = new Float64Array(count);
    this.#slot = new Int32Array(count);
    this.#wanted = new Waiting(count);
    this.#ahead = new Waiting(count);
  }

  /** The number of places. */
  get count(): number {
    return this.#places.count;
  }

  /** Gets the host, before anything else. */
  start(host: EngineHost, owner: LinesOwner): void {
    this.#host = host;
    this.#owner = owner;
    this.#parts.file?.start(host);
  }

  /** Whether no operation uses the memory. */
  get isIdle(): boolean {
    return this.#reads === 0 && this.#parts.file?.isIdle !== false;
  }

  /** The place of a line that is there or on its way, or -1. */
  find(key: number): number {
    return this.#places.find(key);
  }

  /** Whether a place's line is there. It then counts as used. */
  isReady(place: number): boolean {
    if (this.#state[place] !== READY) return false;
    this.#places.use(place);
    return true;
  }

  /** Where a place begins in the memory, in bytes. */
  offsetOf(place: number): number {
    return place * this.#parts.line;
  }

  /** The memory. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#parts.memory.bytes;
  }

  /** The line of a place. */
  keyOf(place: number): number {
    return this.#places.keyOf(place);
  }

  /** Whether more may be read ahead. */
  get mayReadAhead(): boolean {
    return this.#aheadCount < this.#parts.mostAhead;
  }

  /**
   * Begins to bring a line that {@linkcode find} has not found.
   *
   * @param offset Where it is in its chunk, in bytes.
   * @param mayEnd The chunk may end within it.
   * @returns Its place; -1 if there is none at the moment.
   */
  bring(key: number, offset: number, bytes: number, mayEnd: boolean, isAhead: boolean): number {
    const { file } = this.#parts;
    const slot = file?.find(key) ?? -1;
    if (slot >= 0 && this.#reads === MOST_READS) return -1;
    const place = this.#places.take();
    if (place < 0) return place;
    this.#places.enter(place, key);
    this.#offset[place] = offset;
    this.#bytes[place] = bytes;
    this.#mayEnd[place] = mayEnd ? 1 : 0;
    this.#tries[place] = 0;
    this.#isAhead[place] = isAhead ? 1 : 0;
    if (isAhead) {
      this.#aheadCount++;
      this.#parts.counters.add(AT.cacheReadAhead, 1);
    }
    if (slot < 0) this.#want(place);
    else {
      this.#state[place] = READ;
      this.#slot[place] = slot;
      this.#reads++;
      const at = this.offsetOf(place);
      const token = tokenOf(LINE_READ, place);
      const { memory, line } = this.#parts;
      this.#host.read(memory, at, line, file!.fd, file!.offsetOf(slot), token);
    }
    return place;
  }

  /** Somebody waits for a line that is on its way. */
  hurry(place: number): void {
    if (this.#isAhead[place] === 0) return;
    this.#isAhead[place] = 0;
    this.#aheadCount--;
    if (this.#state[place] === WANTED) this.#want(place);
  }

  /** A line that is there is not what it should be: it is not found any more, nor in the file. */
  forget(key: number): void {
    this.#parts.file?.drop(key);
    const place = this.#places.find(key);
    if (place < 0) return;
    assert(this.#state[place] === READY, "what is on its way is not forgotten");
    this.#places.drop(place);
  }

  #want(place: number): void {
    this.#state[place] = WANTED;
    const row = this.#isAhead[place] !== 0 ? IN_AHEAD : IN_WANTED;
    if ((this.#rows[place] & row) !== 0) return;
    this.#rows[place] |= row;
    (row === IN_AHEAD ? this.#ahead : this.#wanted).push(place);
  }

  /** Asks for what is wanted, as far as calls are free. */
  batchEnd(): void {
    const before = this.#fetches;
    this.#askAll();
    if (this.#fetches !== before) this.#parts.asked();
  }

  #askAll(): void {
    for (;;) {
      const isAhead = this.#wanted.length === 0;
      const row = isAhead ? this.#ahead : this.#wanted;
      if (row.length === 0) return;
      if (isAhead && this.#fetches >= MOST_FETCHES - RESERVED) return;
      const fetch = this.#parts.board.free();
      if (fetch < 0) return;
      const place = row.shift();
      this.#rows[place] &= ~(isAhead ? IN_AHEAD : IN_WANTED);
      if (this.#state[place] === WANTED) this.#ask(fetch, place);
    }
  }

  /** Asks for a run of lines around a place's. */
  #ask(fetch: number, place: number): void {
    const mayEnd = this.#mayEnd[place] !== 0;
    let key = this.#places.keyOf(place);
    let first = place;
    // They may have been wanted in any order.
    for (let back = 1; !mayEnd && back < FETCH_LINES; back++) {
      const before = this.#continuing(key - 1, key);
      if (before < 0) break;
      first = before;
      key--;
    }
    let [lines, bytes] = [0, 0];
    for (let next = first; next >= 0;) {
      this.#state[next] = FETCHED;
      this.#runBytes[lines] = this.#bytes[next];
      bytes += this.#runBytes[lines];
      this.#run[lines++] = next;
      next = mayEnd || lines === FETCH_LINES ? -1 : this.#continuing(key + lines, key);
    }
    this.#fetches++;
    this.#parts.counters.add(AT.cacheFetches, 1);
    const offset = this.#offset[first];
    const { board } = this.#parts;
    board.ask(fetch, chunkOfLine(key), offset, bytes, mayEnd, this.#run, this.#runBytes, lines);
  }

  /** The place of a line that is to be fetched too, and belongs to a run; or -1. */
  #continuing(key: number, run: number): number {
    const place = this.#places.find(key);
    if (place < 0 || this.#state[place] !== WANTED) return -1;
    const isOne = chunkOfLine(key) === chunkOfLine(run) && isTableLine(key) === isTableLine(run);
    return isOne ? place : -1;
  }

  /** Takes what has been fetched. @returns Whether there was something. */
  woken(): boolean {
    const { board } = this.#parts;
    if (board.hasFailed) board.endAll();
    let some = false;
    for (let fetch = board.ended(); fetch >= 0; fetch = board.ended()) {
      some = true;
      this.#fetches--;
      this.#came(fetch);
      board.release(fetch);
    }
    return some;
  }

  #came(fetch: number): void {
    const { board, counters } = this.#parts;
    const outcome = board.outcome(fetch);
    if (outcome === CAME) counters.add(AT.cacheFetchedBytes, board.bytes(fetch));
    let words = outcome === CAME ? undefined : board.text(fetch) || undefined;
    const lines = board.lines(fetch);
    for (let line = 0; line < lines; line++) {
      const place = board.place(fetch, line);
      if (outcome === CAME) {
        if (this.#owner.lineIsSound(place)) {
          this.#ready(place, true);
          continue;
        }
        words = `${this.#owner.nameOf(this.keyOf(place))} has a wrong checksum in the ` +
          `${this.#bytes[place]} bytes from ${this.#offset[place]} on, fetched ${MOST_TRIES} times`;
      }
      const mayHelp = outcome === CAME || outcome === CORRUPT;
      const hasTries = mayHelp && ++this.#tries[place] < MOST_TRIES;
      // Some have come when this fetch was old. Each of them waits as long as it may, and no longer.
      if (hasTries || outcome === AWAY && this.#owner.isAwaited(this.keyOf(place))) {
        this.#want(place);
        continue;
      }
      this.#fail(place, words);
      words = undefined;
    }
  }

  #ready(place: number, isNew: boolean): void {
    this.#state[place] = READY;
    this.#notAhead(place);
    const key = this.keyOf(place);
    this.#owner.lineCame(key);
    const isKept = isNew && this.keyOf(place) === key;
    // It stays as long as it is being written to the file.
    if (isKept && this.#parts.file?.write(key, this.#parts.memory, place) === true) return;
    this.#places.settle(place);
  }

  #fail(place: number, words: string | undefined): void {
    const key = this.keyOf(place);
    this.#state[place] = NOTHING;
    this.#notAhead(place);
    this.#places.drop(place);
    this.#places.settle(place);
    this.#owner.lineFailed(key, words);
  }

  #notAhead(place: number): void {
    if (this.#isAhead[place] === 0) return;
    this.#isAhead[place] = 0;
    this.#aheadCount--;
  }

  /** An operation has completed. */
  done(token: number, result: number): void {
    const nth = nthOfToken(token);
    if (kindOf(token) === LINE_WRITE) {
      const place = this.#parts.file!.wrote(nth, result);
      if (place >= 0) this.#places.settle(place);
      return;
    }
    const { file } = this.#parts;
    const key = this.keyOf(nth);
    this.#reads--;
    if (result < 0) file!.fail(result, "read");
    if (result === this.#parts.line && this.#owner.lineIsSound(nth)) return this.#ready(nth, false);
    file!.isBad(key, this.#slot[nth]);
    this.#want(nth);
  }
}
