/**
 * Blocks that are filled with a number, which tells who wrote them; 0 is a hole.
 *
 * @module
 */

import { BrokenPromise } from "../volumes/history.ts";

/** Bytes of a block. */
export const BLOCK = 4096;
const WORDS = BLOCK / 4;

/** Blocks with a number. */
export function filled(count: number, id: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array(count * WORDS).fill(id).buffer);
}

/** The numbers of blocks. @throws {BrokenPromise} If a block is torn. */
export function idsOf(bytes: Uint8Array<ArrayBuffer>): number[] {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return Array.from({ length: bytes.length / BLOCK }, (_, nth) => {
    const first = nth * WORDS;
    const id = words[first];
    for (let at = first; at < first + WORDS; at++) {
      if (words[at] !== id) throw new BrokenPromise(`a block is torn: ${id} and ${words[at]}`);
    }
    return id;
  });
}
