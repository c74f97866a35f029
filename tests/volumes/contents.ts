/**
 * The contents of blocks in simulations: each tells the number of the write that it is of. Most consist
 * of nothing else, and the others of random bytes, so that compression pays for some data only.
 *
 * @module
 */

import { BrokenPromise } from "./history.ts";

/** One number in so many has random contents. */
const RANDOM = 3;

/** The words of a block of a write, from one on. */
function wordOf(id: number, nth: number): number {
  if (nth === 0 || id % RANDOM !== 0) return id;
  let word = Math.imul(id, 0x9e3779b1) ^ Math.imul(nth, 0x85ebca77);
  word = Math.imul(word ^ word >>> 15, 0x2c1b3c6d);
  word = Math.imul(word ^ word >>> 12, 0x297a2d39);
  return (word ^ word >>> 15) >>> 0;
}

/** Data of a write. */
export function contentsOf(bytes: number, blockSize: number, id: number): Uint8Array<ArrayBuffer> {
  const perBlock = blockSize / 4;
  const block = Uint32Array.from({ length: perBlock }, (_, nth) => wordOf(id, nth));
  const words = new Uint32Array(bytes / 4);
  for (let at = 0; at < words.length; at += perBlock) words.set(block, at);
  return new Uint8Array(words.buffer);
}

/** The number of the write that a block is of; 0 for zeroes. @throws {BrokenPromise} if it is torn */
export function numberOf(block: Uint32Array): number {
  const id = block[0];
  const isRandom = id !== 0 && id % RANDOM === 0;
  // A loop: simulations spend much of their time here.
  let torn = -1;
  for (let nth = 1; nth < block.length && torn < 0; nth++) {
    if (block[nth] !== (isRandom ? wordOf(id, nth) : id)) torn = nth;
  }
  if (torn < 0) return id;
  throw new BrokenPromise(`a block is torn: ${id}, and ${block[torn]} at word ${torn}`);
}
