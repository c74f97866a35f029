/**
 * A base and the path of an overlay over it, for the tests of `cow`.
 *
 * @module
 */

import { file } from "../backends/loop.ts";
import { cow } from "../backends/wrappers/cow.ts";
import type { Scratch } from "./scratch.ts";

/** Bytes of a block of the overlay. */
export const BLOCK: number = 64 << 10;
/** Bytes of the base: its last block is not whole. */
export const SIZE: number = 16 * BLOCK + 4096;

/** A base that is full of a pattern, and the path of an overlay. */
export function prepareOverlay(scratch: Scratch) {
  const path = `${scratch.path}/base`;
  const base = new Uint8Array(SIZE).map((_, index) => (index >> 9) * 7 + index);
  Deno.writeFileSync(path, base);
  const overlay = `${scratch.path}/over`;
  return { path, base, overlay, spec: cow(file(path, { readOnly: true }), { file: overlay }) };
}
