/**
 * Sees sequential streams among the reads of a disk, and what they will read next.
 *
 * A request that begins where an earlier one has ended continues its stream; from its third request
 * on, a stream is read ahead, and each request doubles how far, up to a bound. A second one may be
 * chance: random reads of a few blocks. A request that continues none begins a stream, in the place
 * of the one that was seen longest ago.
 *
 * @module
 */

import { IN_CHUNK, type Maps } from "../maps.ts";
import { chunkOf, nthOf } from "../format/place.ts";

/** Streams at once. */
const STREAMS = 16;
/** Extents of the map that are looked at for one request: a disk may be in many pieces. */
const LOOKS = 64;

/** Reads blocks of a chunk before they are asked for. */
export type ReadBlocks = (chunk: number, nth: number, count: number) => number;
/** {@linkcode ReadBlocks} has no room at the moment. */
export const NO_ROOM = -1;

/** The parts of {@linkcode ReadAhead}. */
export interface ReadAheadParts {
  /** Where blocks are. */
  readonly maps: Maps;
  /** Blocks that a stream is read ahead at first. */
  readonly first: number;
  /** Most blocks ahead. */
  readonly most: number;
  /**
   * Begins to read blocks.
   *
   * @returns For how many it has; it may be asked again for the others later. Or
   *   {@linkcode NO_ROOM}.
   */
  readonly read: ReadBlocks;
}

/** Streams. */
export class ReadAhead {
  readonly #parts: ReadAheadParts;
  /** Per stream: the block after its last request, and the one up to which it was read ahead. */
  readonly #next = new Float64Array(STREAMS).fill(-1);
  readonly #ahead = new Float64Array(STREAMS);
  /** How far it is read ahead, in blocks; 0 for none. */
  readonly #window = new Float64Array(STREAMS);
  /** When it was seen last. */
  readonly #seen = new Float64Array(STREAMS);
  /** Whether something was in the way of reading on. */
  readonly #isHeld = new Uint8Array(STREAMS);
  #held = 0;
  #time = 0;

  /** Takes over the parts. */
  constructor(parts: ReadAheadParts) {
    this.#parts = parts;
  }

  /** A request reads blocks. */
  saw(block: number, count: number): void {
    const { first, most } = this.#parts;
    const stream = this.#next.indexOf(block);
    if (stream < 0) return this.#begin(block + count);
    this.#seen[stream] = ++this.#time;
    const next = this.#next[stream] = block + count;
    const window = this.#window[stream];
    if (window === 0) {
      this.#window[stream] = Math.max(first, count) / 2;
      return;
    }
    this.#window[stream] = Math.min(most, window * 2);
    this.#ahead[stream] = Math.max(this.#ahead[stream], next);
    // Half a window at a time: few large calls.
    if (this.#ahead[stream] - next <= this.#window[stream] / 2) this.#read(stream);
  }

  /** Goes on with streams that were held: something has come. */
  goOn(): void {
    if (this.#held === 0) return;
    for (let stream = 0; stream < STREAMS; stream++) {
      if (this.#isHeld[stream] !== 0) this.#read(stream);
    }
  }

  /**
   * Streams that are held go on with their next requests: what they are held for cannot be had, and would
   * be asked for again at once.
   */
  letGo(): void {
    this.#isHeld.fill(0);
    this.#held = 0;
  }

  #begin(next: number): void {
    let oldest = 0;
    for (let stream = 1; stream < STREAMS; stream++) {
      if (this.#seen[stream] < this.#seen[oldest]) oldest = stream;
    }
    this.#seen[oldest] = ++this.#time;
    this.#next[oldest] = this.#ahead[oldest] = next;
    this.#window[oldest] = 0;
    this.#hold(oldest, false);
  }

  #hold(stream: number, isHeld: boolean): void {
    this.#held += (isHeld ? 1 : 0) - this.#isHeld[stream];
    this.#isHeld[stream] = isHeld ? 1 : 0;
  }

  #read(stream: number): void {
    const { maps, read } = this.#parts;
    const end = Math.min(this.#next[stream] + this.#window[stream], maps.blocks);
    let block = this.#ahead[stream];
    let isHeld = false;
    for (let look = 0; block < end && look < LOOKS; look++) {
      const count = maps.find(block, end - block);
      let done = count;
      if (maps.kind === IN_CHUNK) done = read(chunkOf(maps.place), nthOf(maps.place), count);
      if (!isHeld) this.#ahead[stream] = block + Math.max(0, done);
      if (done < count) isHeld = true;
      if (done === NO_ROOM) break;
      // Beyond what is held: tables of several chunks are read at once.
      block += count;
    }
    this.#hold(stream, isHeld || this.#ahead[stream] < end);
  }
}
