/**
 * The blocks of the volume whose nodes are cut off. Each is filled with one number, so that a torn one
 * shows.
 *
 * @module
 */

/** Bytes of a block. */
export const BLOCK = 4096;
/** Blocks that are written to. */
export const BLOCKS = 8;

/** A block with a value. */
export function blockOf(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Float64Array(BLOCK / 8).fill(value).buffer);
}

/** The values of all blocks, -1 for a torn one. */
export function valuesOf(bytes: Uint8Array): number[] {
  const { buffer, byteOffset } = bytes;
  return Array.from({ length: BLOCKS }, (_, nth) => {
    const words = new Float64Array(buffer, byteOffset + nth * BLOCK, BLOCK / 8);
    return words.every((word) => word === words[0]) ? words[0]! : -1;
  });
}
