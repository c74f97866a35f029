/**
 * The leaves of a block map. Each holds the places of a fixed number of blocks, either as sorted
 * extents or as a flat page, and changes between the sizes of `leaf_classes.ts` as it fills and
 * empties.
 *
 * @module
 */

import { fillFlat, flatEnd, flatPlace, flatStarts, isHole } from "./flat_leaf.ts";
import { HEADER_WORDS, LeafClasses, PLACE_WORDS } from "./leaf_classes.ts";
import { Slabs } from "./slabs.ts";
import { copyExtents, endOf, placeOf, Splice, startOf, upTo, writeExtent } from "./sorted_leaf.ts";

/**
 * Takes an old piece of the map that something newer covers: its first place and its number of
 * blocks. It must leave the map alone, because the change is not complete yet.
 */
export type ReplaceHook = (place: number, count: number) => void;

const TWO_32 = 0x1_0000_0000;
// V8 inlines constants of this module. It loads and checks an imported one on each use.
const HEADER = HEADER_WORDS;
/** A leaf's header is its class above, its number of extents below. */
const EXTENTS_BITS = 16;
const EXTENTS_MASK = (1 << EXTENTS_BITS) - 1;
/** Fewer words are moved one by one: a call of `copyWithin` takes longer. */
const SHORT_MOVE = 96;

/** All leaves, each at an address; 0 is an empty leaf, which takes no memory. */
export class Leaves {
  /** Number of extents of all leaves. */
  extents = 0;
  /** Number of blocks that have a place. */
  mapped = 0;
  /** The place that {@linkcode find} found last, or -1. */
  place = -1;
  /** Called for each piece that {@linkcode change} covers. */
  onReplace: ReplaceHook | undefined = undefined;
  readonly #blocks: number;
  readonly #step: number;
  readonly #classes: LeafClasses;
  readonly #slabs: Slabs;
  readonly #splice: Splice;

  /** Makes no leaf yet. */
  constructor(blocksPerLeaf: number, step: number) {
    this.#blocks = blocksPerLeaf;
    this.#step = step;
    this.#classes = new LeafClasses(blocksPerLeaf);
    this.#slabs = new Slabs({
      spanWords: this.#classes.spanWords,
      classWords: this.#classes.words,
      // 512 KiB for leaves of 1024 blocks.
      pieceBits: 7 + Math.log2(blocksPerLeaf),
    });
    this.#splice = new Splice(step, this);
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#slabs.bytes;
  }

  /**
   * Looks up the run that begins at a block of a leaf, and leaves its place in {@linkcode place}.
   *
   * @returns The block after it, at most `end`.
   */
  find(ref: number, from: number, end: number): number {
    const words = this.#slabs.pieces[ref >>> this.#slabs.bits];
    const base = ref & this.#slabs.mask;
    const header = words[base];
    const at = base + HEADER;
    if (header >> EXTENTS_BITS === this.#classes.flat) {
      this.place = isHole(words, at, from) ? -1 : flatPlace(words, at, from);
      return flatEnd(words, at, from, end, this.#step);
    }
    const extents = header & EXTENTS_MASK;
    const after = upTo(words, at, extents, from);
    if (after > 0) {
      const stop = endOf(words, at, after - 1);
      if (stop > from) {
        const places = at + this.#classes.capacities[header >> EXTENTS_BITS];
        const start = startOf(words, at, after - 1);
        this.place = placeOf(words, places, after - 1) + (from - start) * this.#step;
        return stop < end ? stop : end;
      }
    }
    this.place = -1;
    return after < extents ? Math.min(end, startOf(words, at, after)) : end;
  }

  /** The first block from `from` on that has a place, or -1. */
  nextMapped(ref: number, from: number): number {
    const end = this.find(ref, from, this.#blocks);
    return this.place >= 0 ? from : end < this.#blocks ? end : -1;
  }

  /**
   * Gives the blocks from `from` to before `to` the places from `high` and `low` on, or none if
   * `high` is negative.
   *
   * @returns The leaf's address from now on.
   */
  change(ref: number, from: number, to: number, high: number, low: number): number {
    if (high >= 0) this.mapped += to - from;
    if (ref === 0) return high < 0 ? 0 : this.#make(from, to, high, low);
    const header = this.#slabs.pieces[ref >>> this.#slabs.bits][ref & this.#slabs.mask];
    return header >> EXTENTS_BITS === this.#classes.flat
      ? this.#changeFlat(ref, from, to, high, low)
      : this.#changeSorted(ref, from, to, high, low);
  }

  /** Counts an old piece, for {@linkcode Splice}. */
  replace(high: number, low: number, count: number): void {
    this.mapped -= count;
    if (this.onReplace !== undefined) this.onReplace(high * TWO_32 + (low >>> 0), count);
  }

  /**
   * Makes a leaf of extents that are complete and sorted, as in `sorted_leaf.ts`.
   *
   * @param mapped Their number of blocks.
   */
  build(words: Int32Array<ArrayBuffer>, places: number, count: number, mapped: number): number {
    const { flat, fitting, mostExtents, capacities } = this.#classes;
    const size = count > mostExtents ? flat : fitting[count];
    const ref = this.#take(size, count);
    const to = this.#slabs.pieces[ref >>> this.#slabs.bits];
    const at = (ref & this.#slabs.mask) + HEADER;
    if (size === flat) {
      fillFlat(to, at, 0, this.#blocks, -1, 0, 0);
      this.#expand(to, at, words, 0, places, 0, count);
    } else copyExtents(to, at, at + capacities[size], 0, words, 0, places, 0, count);
    this.extents += count;
    this.mapped += mapped;
    return ref;
  }

  #take(size: number, extents: number): number {
    const ref = this.#slabs.take(size);
    this.#slabs.pieces[ref >>> this.#slabs.bits][ref & this.#slabs.mask] = size << EXTENTS_BITS |
      extents;
    return ref;
  }

  #make(from: number, to: number, high: number, low: number): number {
    const ref = this.#take(0, 1);
    const at = (ref & this.#slabs.mask) + HEADER;
    const words = this.#slabs.pieces[ref >>> this.#slabs.bits];
    const places = at + this.#classes.capacities[0];
    writeExtent(words, at, places, 0, from, to, high, low);
    this.extents++;
    return ref;
  }

  #changeSorted(ref: number, from: number, to: number, high: number, low: number): number {
    const words = this.#slabs.pieces[ref >>> this.#slabs.bits];
    const base = ref & this.#slabs.mask;
    const size = words[base] >> EXTENTS_BITS;
    const extents = words[base] & EXTENTS_MASK;
    const { capacities } = this.#classes;
    const capacity = capacities[size];
    const keys = base + HEADER;
    const places = keys + capacity;
    const splice = this.#splice;
    splice.plan(words, keys, places, extents, from, to, high, low);
    const { first, last, count } = splice;
    const after = extents + count - (last - first);
    this.extents += after - extents;
    // A leaf shrinks late, so that it does not change its class to and fro.
    if (after > capacity || size > 1 && after <= capacities[size - 2] || after === 0) {
      return this.#moveSorted(ref, extents, after);
    }
    if (after !== extents) {
      words[base] = size << EXTENTS_BITS | after;
      const next = first + count;
      move(words, keys + last, keys + next, extents - last);
      move(words, places + 2 * last, places + 2 * next, 2 * (extents - last));
    }
    copyExtents(words, keys, places, first, splice.words, splice.keys, splice.places, 0, count);
    return ref;
  }

  /** Carries out the splice in a leaf of another class. */
  #moveSorted(ref: number, extents: number, after: number): number {
    const slabs = this.#slabs;
    if (after === 0) {
      slabs.give(ref);
      return 0;
    }
    const { first, last, count, words: added, keys: addedKeys, places: addedPlaces } = this.#splice;
    const { flat, fitting, mostExtents, capacities } = this.#classes;
    const from = slabs.pieces[ref >>> slabs.bits];
    const fromKeys = (ref & slabs.mask) + HEADER;
    const size = from[fromKeys - HEADER] >> EXTENTS_BITS;
    const fromPlaces = fromKeys + capacities[size];
    const isLess = after <= capacities[size];
    const next = isLess ? size - 1 : after > mostExtents ? flat : fitting[after];
    const moved = this.#take(next, after);
    const to = slabs.pieces[moved >>> slabs.bits];
    const at = (moved & slabs.mask) + HEADER;
    if (next === flat) {
      fillFlat(to, at, 0, this.#blocks, -1, 0, 0);
      this.#expand(to, at, from, fromKeys, fromPlaces, 0, first);
      this.#expand(to, at, added, addedKeys, addedPlaces, 0, count);
      this.#expand(to, at, from, fromKeys, fromPlaces, last, extents);
    } else {
      const places = at + capacities[next];
      const tail = first + count;
      copyExtents(to, at, places, 0, from, fromKeys, fromPlaces, 0, first);
      copyExtents(to, at, places, first, added, addedKeys, addedPlaces, 0, count);
      copyExtents(to, at, places, tail, from, fromKeys, fromPlaces, last, extents - last);
    }
    slabs.give(ref);
    return moved;
  }

  /** Writes sorted extents, from one to before another, into a flat page. */
  #expand(
    to: Int32Array<ArrayBuffer>,
    at: number,
    from: Int32Array<ArrayBuffer>,
    keys: number,
    places: number,
    first: number,
    last: number,
  ): void {
    for (let extent = first; extent < last; extent++) {
      const start = startOf(from, keys, extent);
      const end = endOf(from, keys, extent);
      const word = places + 2 * extent;
      fillFlat(to, at, start, end, from[word + 1], from[word], this.#step);
    }
  }

  #changeFlat(ref: number, from: number, to: number, high: number, low: number): number {
    const words = this.#slabs.pieces[ref >>> this.#slabs.bits];
    const base = ref & this.#slabs.mask;
    const at = base + HEADER;
    const step = this.#step;
    // The block after the change may begin an extent, or no longer.
    const touched = Math.min(to + 1, this.#blocks);
    const before = flatStarts(words, at, from, touched, step);
    for (let offset = from; offset < to;) {
      const end = flatEnd(words, at, offset, to, step);
      const word = at + PLACE_WORDS * offset;
      if (words[word + 1] >= 0) this.replace(words[word + 1], words[word], end - offset);
      offset = end;
    }
    fillFlat(words, at, from, to, high, low, step);
    const grown = flatStarts(words, at, from, touched, step) - before;
    this.extents += grown;
    const extents = (words[base] & EXTENTS_MASK) + grown;
    words[base] += grown;
    // A page shrinks late, so that it does not change its form to and fro.
    return extents * 2 <= this.#classes.mostExtents ? this.#shrinkFlat(ref, extents) : ref;
  }

  /** Makes a flat page a sorted leaf. */
  #shrinkFlat(ref: number, extents: number): number {
    const slabs = this.#slabs;
    let shrunk = 0;
    if (extents > 0) {
      shrunk = this.#take(this.#classes.fitting[extents], extents);
      const from = slabs.pieces[ref >>> slabs.bits];
      const fromAt = (ref & slabs.mask) + HEADER;
      const to = slabs.pieces[shrunk >>> slabs.bits];
      const keys = (shrunk & slabs.mask) + HEADER;
      const places = keys + this.#classes.capacities[to[keys - HEADER] >> EXTENTS_BITS];
      let extent = 0;
      for (let offset = 0; offset < this.#blocks;) {
        const end = flatEnd(from, fromAt, offset, this.#blocks, this.#step);
        const word = fromAt + PLACE_WORDS * offset;
        if (from[word + 1] >= 0) {
          writeExtent(to, keys, places, extent++, offset, end, from[word + 1], from[word]);
        }
        offset = end;
      }
    }
    slabs.give(ref);
    return shrunk;
  }
}

/** Moves words within an array. */
function move(words: Int32Array<ArrayBuffer>, from: number, to: number, count: number): void {
  if (count > SHORT_MOVE) {
    words.copyWithin(to, from, from + count);
  } else if (to > from) {
    for (let word = count - 1; word >= 0; word--) words[to + word] = words[from + word];
  } else {
    for (let word = 0; word < count; word++) words[to + word] = words[from + word];
  }
}
