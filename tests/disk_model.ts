/**
 * A model of a disk's contents, and random requests that compare a disk with it.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import type { Dice } from "../uapi/dice.ts";
import { type FakeIo, type FakeRequest, SECTOR_BYTES } from "./fake_request.ts";

/** A request, with the check of its answer. */
export interface ModelIo {
  readonly io: FakeIo;
  readonly check: (request: FakeRequest) => void;
}

/** The operations of a disk that supports all of them. */
export const ALL_OPS: readonly number[] = [
  UBLK_IO_OP_READ,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_WRITE_ZEROES,
];

/**
 * The index of the first byte that differs, or -1. It compares words, not bytes by a function: in an
 * emulated guest that was a third of a test of a data path.
 */
function firstDifference(got: Uint8Array<ArrayBuffer>, wanted: Uint8Array<ArrayBuffer>): number {
  const words = (bytes: Uint8Array<ArrayBuffer>) =>
    new Uint32Array(bytes.slice().buffer, 0, bytes.length >>> 2);
  const [some, others] = [words(got), words(wanted)];
  for (let at = 0; at < some.length; at++) {
    if (some[at] !== others[at]) return got.findIndex((byte, at) => byte !== wanted[at]);
  }
  return -1;
}

/** A disk whose discarded blocks read as zeroes. */
export class DiskModel {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #blockSize: number;
  readonly #maxIoBytes: number;
  readonly #dice: Dice;

  /** A disk full of zeroes. */
  constructor(bytes: number, blockSize: number, maxIoBytes: number, dice: Dice) {
    this.#bytes = new Uint8Array(bytes);
    this.#blockSize = blockSize;
    this.#maxIoBytes = maxIoBytes;
    this.#dice = dice;
  }

  /** Random requests that do not overlap, so they may run concurrently. */
  batch(count: number, ops: readonly number[] = ALL_OPS): ModelIo[] {
    const part = Math.floor(this.#bytes.length / count / this.#blockSize);
    return Array.from({ length: count }, (_, index) => {
      const op = ops[this.#dice.draw(ops.length)];
      // Often the largest possible request, because bugs appear at limits.
      const maxBlocks = Math.min(part, this.#maxIoBytes / this.#blockSize);
      const blocks = this.#dice.draw(4) === 0 ? maxBlocks : 1 + this.#dice.draw(maxBlocks);
      const start = index * part + this.#dice.draw(part - blocks + 1);
      return this.#request(op, start * this.#blockSize, blocks * this.#blockSize);
    });
  }

  #request(op: number, offset: number, bytes: number): ModelIo {
    const io = { op, sector: offset / SECTOR_BYTES, sectors: bytes / SECTOR_BYTES };
    const flag = this.#dice.draw(2) === 1;
    const isDone = (request: FakeRequest) => assertEquals(request.results, [0]);
    const part = this.#bytes.subarray(offset, offset + bytes);
    switch (op) {
      case UBLK_IO_OP_READ: {
        const want = part.slice();
        return {
          io,
          check: ({ results, data }) => {
            assertEquals(results, [bytes]);
            assertEquals(firstDifference(data, want), -1, `read at ${offset}`);
          },
        };
      }
      case UBLK_IO_OP_WRITE: {
        // Every sector contains its position, so that misplaced data is found.
        const words = new Uint32Array(bytes / 4);
        const salt = this.#dice.draw(2 ** 32);
        for (let at = 0; at < words.length; at++) words[at] = (offset + at * 4) ^ salt;
        const data = new Uint8Array(words.buffer);
        part.set(data);
        return {
          io: { ...io, data, flags: flag ? UBLK_IO_F_FUA : 0 },
          check: ({ results }) => assertEquals(results, [bytes]),
        };
      }
      case UBLK_IO_OP_FLUSH:
        return { io: { op }, check: isDone };
      case UBLK_IO_OP_WRITE_ZEROES:
        part.fill(0);
        return { io: { ...io, flags: flag ? UBLK_IO_F_NOUNMAP : 0 }, check: isDone };
      default:
        part.fill(0);
        return { io, check: isDone };
    }
  }
}
