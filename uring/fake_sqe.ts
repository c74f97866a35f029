/**
 * Takes SQEs from the ring, for the fake kernel.
 *
 * @module
 */

import type { RingMemory } from "./ring.ts";

/** An SQE as passed to the fake's handler. */
export interface FakeSqe {
  /** `IORING_OP_*`. */
  readonly opcode: number;
  /** `IOSQE_*`. */
  readonly flags: number;
  /** The descriptor. */
  readonly fd: number;
  /** The driver's command, for URING_CMD. */
  readonly cmdOp: number;
  /** The first word of the user data. */
  readonly userData: number;
  /** The second word of the user data. */
  readonly kind: number;
  /** All words, copied when the SQE was taken. The driver's part begins at word 12. */
  readonly words: Uint32Array<ArrayBuffer>;
}

/** Takes the SQE at the queue's head, which must exist. */
export function takeSqe(memory: RingMemory): FakeSqe {
  const { sqHead, sqes, sqeWords, sqEntries, sqArray } = memory;
  const place = sqHead[0] & (sqEntries - 1);
  const at = (sqArray === undefined ? place : sqArray[place]) * sqeWords;
  const words = sqes.slice(at, at + sqeWords);
  Atomics.store(sqHead, 0, (sqHead[0] + 1) >>> 0);
  return {
    opcode: words[0] & 0xff,
    flags: (words[0] >>> 8) & 0xff,
    fd: words[1] | 0,
    cmdOp: words[2],
    userData: words[8] | 0,
    kind: words[9] | 0,
    words,
  };
}
