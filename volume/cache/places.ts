/**
 * Places for lines, a bounded number of them, in memory or in a file: finds the place of a line, and
 * decides whose place the next line gets.
 *
 * The decision is S3-FIFO's (Yang et al., SOSP 2023): new lines wait in a short queue, and only those
 * that are used again there enter the long one, in which each use saves a line once. A scan passes
 * through the short queue and leaves the long one as it is. A line that comes back soon after it had
 * to go enters the long queue at once.
 *
 * @module
 */

import { assert, fail } from "../../uapi/error.ts";
import { Waiting } from "../journal/requests.ts";

/** The key of no line. */
const NONE = -1;
/** One place in so many is in the short queue. */
const SHORT_PART = 10;
/** Uses of a line count only once one in so many of the places has been given away since it came. */
const SAME_USE_PART = 64;
const MOST_USES = 3;

/** Places. A place is free, taken (it has perhaps a line, and cannot go), or settled. */
export class Places {
  /** Their number. */
  readonly count: number;
  /** The line of each place, as its key + 1; 0 for none. */
  readonly keys: Float64Array<ArrayBuffer>;
  /** By hash: a place + 1, or 0. */
  readonly #table: Int32Array<ArrayBuffer>;
  readonly #mask: number;
  readonly #uses: Uint8Array<ArrayBuffer>;
  /** When the line came, in places that were given away by then. */
  readonly #since: Int32Array<ArrayBuffer>;
  readonly #sameUse: number;
  #given: number;
  readonly #short: Waiting;
  readonly #long: Waiting;
  readonly #free: Waiting;
  /** By hash: of lines that had to go, another hash. */
  readonly #gone: Uint32Array<ArrayBuffer>;

  /**
   * Free places.
   *
   * @param keys Memory for the keys, one for each place: zeroes, or the keys to begin with.
   */
  constructor(keys: Float64Array<ArrayBuffer>) {
    const count = this.count = keys.length;
    assert(count > 0 && count < 2 ** 29, "there are places, and not too many");
    this.keys = keys;
    const size = 2 ** Math.ceil(Math.log2(count * 2));
    this.#table = new Int32Array(size);
    this.#mask = size - 1;
    this.#uses = new Uint8Array(count);
    this.#since = new Int32Array(count);
    this.#sameUse = Math.ceil(count / SAME_USE_PART);
    this.#given = this.#sameUse + 1;
    this.#short = new Waiting(count);
    this.#long = new Waiting(count);
    this.#free = new Waiting(count);
    this.#gone = new Uint32Array(size);
    for (let place = 0; place < count; place++) {
      const key = keys[place] - 1;
      if (key >= 0 && this.find(key) < 0) {
        this.#link(place, key);
        this.#long.push(place);
      } else {
        keys[place] = 0;
        this.#free.push(place);
      }
    }
  }

  /** The place of a line, or -1. */
  find(key: number): number {
    for (let at = hashOf(key) & this.#mask;; at = at + 1 & this.#mask) {
      const place = this.#table[at] - 1;
      if (place < 0 || this.keys[place] - 1 === key) return place;
    }
  }

  /** The line of a place, or -1. */
  keyOf(place: number): number {
    return this.keys[place] - 1;
  }

  /** A line is used. */
  use(place: number): void {
    // Requests that follow each other through a line are one use.
    const isLater = (this.#given - this.#since[place] | 0) > this.#sameUse;
    if (isLater && this.#uses[place] < MOST_USES) this.#uses[place]++;
  }

  /** Takes a place. Its line, if it has one, has to go. @returns -1 if all are taken. */
  take(): number {
    const place = this.#free.length > 0 ? this.#free.shift() : this.#oust();
    if (place < 0) return place;
    this.#given = this.#given + 1 | 0;
    this.#uses[place] = 0;
    return place;
  }

  #oust(): number {
    const [short, long] = [this.#short, this.#long];
    for (;;) {
      const isShort = short.length > this.count / SHORT_PART || long.length === 0;
      if (isShort && short.length === 0) return -1;
      const place = isShort ? short.shift() : long.shift();
      const key = this.keyOf(place);
      if (key === NONE) return place;
      if (this.#uses[place] > 0) {
        this.#uses[place] = isShort ? 0 : this.#uses[place] - 1;
        long.push(place);
        continue;
      }
      if (isShort) this.#gone[hashOf(key) & this.#mask] = otherHashOf(key);
      this.#unlink(place, key);
      return place;
    }
  }

  /** Gives a taken place a line, which can be found from now on. */
  enter(place: number, key: number): void {
    if (this.keys[place] !== 0 || this.find(key) >= 0) {
      fail("a line has one place, and a place one");
    }
    this.#link(place, key);
    this.#since[place] = this.#given;
  }

  /** A taken place may be given to another line from now on. Without a line, it is free. */
  settle(place: number): void {
    const key = this.keyOf(place);
    if (key === NONE) return this.#free.push(place);
    const at = hashOf(key) & this.#mask;
    const wasHere = this.#gone[at] === otherHashOf(key);
    if (wasHere) this.#gone[at] = 0;
    (wasHere ? this.#long : this.#short).push(place);
  }

  /** A place's line is not what it should be, or not there: it is not found any more. */
  drop(place: number): void {
    const key = this.keyOf(place);
    if (key !== NONE) this.#unlink(place, key);
  }

  #link(place: number, key: number): void {
    assert(Number.isSafeInteger(key) && key >= 0, "a line has a key");
    this.keys[place] = key + 1;
    let at = hashOf(key) & this.#mask;
    while (this.#table[at] !== 0) at = at + 1 & this.#mask;
    this.#table[at] = place + 1;
  }

  #unlink(place: number, key: number): void {
    let at = hashOf(key) & this.#mask;
    while (this.#table[at] !== place + 1) at = at + 1 & this.#mask;
    this.keys[place] = 0;
    // Whoever stands behind would not be found any more: they move up.
    for (let next = at + 1 & this.#mask; this.#table[next] !== 0; next = next + 1 & this.#mask) {
      const home = hashOf(this.keyOf(this.#table[next] - 1)) & this.#mask;
      if ((next - home & this.#mask) < (next - at & this.#mask)) continue;
      this.#table[at] = this.#table[next];
      at = next;
    }
    this.#table[at] = 0;
  }
}

/** Mixes the bits of a key, of which there are up to 53. */
function hashOf(key: number): number {
  const high = Math.floor(key / 0x1_0000_0000);
  let hash = Math.imul(key | 0, 0x9e3779b1) ^ Math.imul(high, 0x85ebca77);
  hash = Math.imul(hash ^ hash >>> 15, 0x2c1b3c6d);
  return (hash ^ hash >>> 13) >>> 0;
}

/** Never 0. */
function otherHashOf(key: number): number {
  return (Math.imul(hashOf(key) ^ key | 0, 0x27d4eb2f) | 1) >>> 0;
}
