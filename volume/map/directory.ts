/**
 * From the number of a leaf to its address: a tree with 64 children per node.
 *
 * A node is there only if something is below it. So the memory follows what is mapped, and a huge
 * disk that is nearly empty costs next to nothing: at most a few nodes of 256 bytes for each leaf.
 *
 * Numbers beyond 32 bits are slow, and V8 allocates them when they are passed to a call. So a leaf's
 * number comes in two parts, `high` and the {@linkcode LOW_BITS} below.
 *
 * @module
 */

import { assert } from "../../uapi/error.ts";
import { Slabs } from "./slabs.ts";

/** Bits of the lower part of a leaf's number. */
export const LOW_BITS = 24;

/** Bits of a leaf's number that one level decides. */
const BITS = 6;
const CHILDREN = 1 << BITS;
const DIGIT = CHILDREN - 1;
const MOST_LEVELS = 8;

const PIECE_BITS = 16;
const PIECE_MASK = (1 << PIECE_BITS) - 1;

assert(LOW_BITS % BITS === 0, "the parts meet between two levels");

/** The addresses of leaves. */
export class Directory {
  /** The address of the entry that {@linkcode find} found last, for {@linkcode replace}. */
  #entry = 0;
  #root = 0;
  #levels = 1;
  /** The shift of the first digit in the higher part; negative if that part has none. */
  #highShift = -BITS;
  /** The shift of the first digit in the lower part. */
  #lowShift = 0;
  readonly #slabs = new Slabs({
    spanWords: 32 * CHILDREN,
    classWords: [CHILDREN],
    pieceBits: PIECE_BITS,
  });
  /** Addresses of entries from the root down, for {@linkcode clear}. */
  readonly #path = new Int32Array(MOST_LEVELS);

  /** Makes an empty directory for so many leaves. */
  constructor(leaves: number) {
    this.grow(leaves);
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#slabs.bytes;
  }

  /** Makes room for the numbers of so many leaves. */
  grow(leaves: number): void {
    while (CHILDREN ** this.#levels < leaves) {
      this.#levels++;
      assert(this.#levels <= MOST_LEVELS, "a tree has so many levels");
      if (this.#root !== 0) {
        const root = this.#takeNode();
        this.#slabs.pieces[root >>> PIECE_BITS][root & PIECE_MASK] = this.#root;
        this.#root = root;
      }
    }
    const lowLevels = Math.min(this.#levels, LOW_BITS / BITS);
    this.#lowShift = (lowLevels - 1) * BITS;
    this.#highShift = (this.#levels - lowLevels - 1) * BITS;
  }

  /** The address of a leaf, or 0. */
  find(high: number, low: number): number {
    const { pieces } = this.#slabs;
    let node = this.#root;
    for (let shift = this.#highShift; shift >= 0; shift -= BITS) {
      // Piece 0 has no words, and the tree no node 0.
      if (node === 0) return 0;
      node = pieces[node >>> PIECE_BITS][(node & PIECE_MASK) + (high >>> shift & DIGIT)];
    }
    for (let shift = this.#lowShift; shift > 0; shift -= BITS) {
      if (node === 0) return 0;
      node = pieces[node >>> PIECE_BITS][(node & PIECE_MASK) + (low >>> shift & DIGIT)];
    }
    if (node === 0) return 0;
    const entry = node + (low & DIGIT);
    this.#entry = entry;
    return pieces[entry >>> PIECE_BITS][entry & PIECE_MASK];
  }

  /** Gives the leaf that {@linkcode find} has just found another address. */
  replace(ref: number): void {
    const entry = this.#entry;
    this.#slabs.pieces[entry >>> PIECE_BITS][entry & PIECE_MASK] = ref;
  }

  /** Enters a leaf. */
  add(high: number, low: number, ref: number): void {
    const { pieces } = this.#slabs;
    if (this.#root === 0) this.#root = this.#takeNode();
    let node = this.#root;
    for (let level = this.#levels - 1; level > 0; level--) {
      const entry = node + digitOf(high, low, level);
      node = pieces[entry >>> PIECE_BITS][entry & PIECE_MASK];
      if (node !== 0) continue;
      node = this.#takeNode();
      pieces[entry >>> PIECE_BITS][entry & PIECE_MASK] = node;
    }
    const entry = node + digitOf(high, low, 0);
    pieces[entry >>> PIECE_BITS][entry & PIECE_MASK] = ref;
  }

  /** Removes a leaf that is there, and the nodes that have become empty. */
  clear(high: number, low: number): void {
    const { pieces } = this.#slabs;
    let node = this.#root;
    for (let level = this.#levels - 1; level >= 0; level--) {
      const entry = node + digitOf(high, low, level);
      this.#path[level] = entry;
      node = pieces[entry >>> PIECE_BITS][entry & PIECE_MASK];
    }
    for (let level = 0; level < this.#levels; level++) {
      const entry = this.#path[level];
      pieces[entry >>> PIECE_BITS][entry & PIECE_MASK] = 0;
      const start = entry - digitOf(high, low, level);
      if (!this.#isEmpty(start)) return;
      this.#slabs.give(start);
    }
    this.#root = 0;
  }

  /** The number of the first leaf from a number on, or -1. */
  next(leaf: number): number {
    return this.#root === 0 ? -1 : this.#nextIn(this.#root, this.#levels - 1, leaf);
  }

  /** {@linkcode next} below a node. Numbers count from the node's first leaf. */
  #nextIn(node: number, level: number, leaf: number): number {
    const words = this.#slabs.pieces[node >>> PIECE_BITS];
    const leavesPerChild = CHILDREN ** level;
    let digit = Math.floor(leaf / leavesPerChild);
    let rest = leaf - digit * leavesPerChild;
    for (; digit < CHILDREN; digit++) {
      const child = words[(node & PIECE_MASK) + digit];
      if (child !== 0) {
        if (level === 0) return digit;
        const found = this.#nextIn(child, level - 1, rest);
        if (found >= 0) return digit * leavesPerChild + found;
      }
      rest = 0;
    }
    return -1;
  }

  #takeNode(): number {
    const node = this.#slabs.take(0);
    const at = node & PIECE_MASK;
    this.#slabs.pieces[node >>> PIECE_BITS].fill(0, at, at + CHILDREN);
    return node;
  }

  #isEmpty(node: number): boolean {
    const words = this.#slabs.pieces[node >>> PIECE_BITS];
    const at = node & PIECE_MASK;
    for (let digit = 0; digit < CHILDREN; digit++) {
      if (words[at + digit] !== 0) return false;
    }
    return true;
  }
}

/** The child of a node at a level that leads to a leaf. */
function digitOf(high: number, low: number, level: number): number {
  const shift = level * BITS;
  return (shift < LOW_BITS ? low >>> shift : high >>> shift - LOW_BITS) & DIGIT;
}
