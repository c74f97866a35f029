/**
 * A RAM disk whose methods return Promises that settle slightly later, in any order.
 *
 * @module
 */

import type { Backend } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { Dice } from "../../uapi/dice.ts";

/** The disk's specification. */
export function asyncMemory(size: number): BackendSpec {
  return { module: import.meta.url, options: size };
}

/** Opens the disk. */
export function open(options: unknown): Backend {
  const bytes = new Uint8Array(options as number);
  const dice = new Dice(1);
  const later = async (work: () => void) => {
    for (let turns = dice.draw(4); turns >= 0; turns--) await Promise.resolve();
    work();
  };
  return {
    size: bytes.length,
    fua: true,
    readAt: (buffer, offset) =>
      later(() => buffer.set(bytes.subarray(offset, offset + buffer.length))),
    writeAt: (buffer, offset) => later(() => bytes.set(buffer, offset)),
    flush: () => later(() => {}),
    trim: (offset, length) => later(() => void bytes.fill(0xee, offset, offset + length)),
    writeZeroes: (offset, length) => later(() => void bytes.fill(0, offset, offset + length)),
  };
}
