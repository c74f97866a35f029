/**
 * The express lane: a fast path for plain READs and WRITEs of file disks, and for their
 * completions. It is one loop that calls no functions.
 *
 * The lane is the better way to serve a file with many requests at a time. With few requests, the
 * answer is linked behind the operation, which saves a system call (see `PlainTransfers`). Many
 * requests share their system calls anyway, and a link costs the kernel more than a second
 * submission. So the lane waits for the operation, and queues the answer once it has completed in
 * full. It leaves anything unexpected to the general code.
 *
 * The lane is a closure rather than a class: V8 treats captured variables as constants, so an array
 * access takes two instructions instead of ten.
 *
 * @module
 */

import { assert, fail } from "../uapi/error.ts";
import {
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_RES_OK,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
} from "../uapi/ublk_io.ts";
import { CQE_WORDS, type Ring } from "../uring/ring.ts";
import type { Express } from "./data_path.ts";
import {
  DESCRIPTOR_BITS,
  EXPECTED,
  FIXED,
  FOLLOWED,
  NOT_PLAIN,
  OTHER,
  type PlainLane,
} from "./plain_transfers.ts";
import { KIND_BACKEND, KIND_IO, type Slots } from "./slots.ts";

/**
 * The smallest batch of completions that takes the lane. (Counted: with four requests under way,
 * the lane makes the server's work 1 to 2 % dearer.)
 */
export const EXPRESS_FROM = 6;

/** The parts of the lane. */
export interface ExpressParts extends PlainLane {
  /** The thread's ring. */
  readonly ring: Ring;
  /** The thread's slots. */
  readonly slots: Slots;
  /** The state of each slot's plain transfer: `NOT_PLAIN` and so on. */
  readonly plain: Uint8Array<ArrayBuffer>;
  /** The handler, which counts requests under way. */
  readonly handler: { outstanding: number };
}

/** Makes the lane of a thread. */
export function makeExpress(parts: ExpressParts): Express {
  const { ring, slots, plain, first: operations, opcodes, fixedSectors, handler } = parts;
  const { words, descriptorWords, stats, states, held, idle, commits } = parts.lane;
  const { sqes, cqes } = ring;
  assert(plain.length === slots.count && states.length === slots.count, "each slot has its state");
  assert(operations >= 0 && parts.lane.commits >= 0, "the SQEs are the slots' own");
  assert(operations !== parts.lane.commits, "those for commands are others");
  assert(opcodes.length === 4, "there are four ways to transfer");
  const lastWord = cqes.length - 1;
  const sqeShift = Math.log2(ring.sqeWords);
  const sqeBits = sqes.length - 1;
  const descriptorBits = DESCRIPTOR_BITS;
  const io = KIND_IO;
  const backend = KIND_BACKEND;
  const readOp = UBLK_IO_OP_READ;
  const writeOp = UBLK_IO_OP_WRITE;
  const ok = UBLK_IO_RES_OK;
  const cqeWords = CQE_WORDS;
  const other = OTHER;
  const fixed = FIXED;
  const expected = EXPECTED;
  const followed = FOLLOWED;
  const notPlain = NOT_PLAIN;
  const commit = UBLK_U_IO_COMMIT_AND_FETCH_REQ | 0;
  // The SQEs to queue. A completion queues at most one.
  const queue = new Int32Array(ring.cqEntries);
  return (nth, count) => {
    const first = ring.cqeWord(0);
    let queued = 0;
    let begun = 0;
    let done = 0;
    let reads = 0;
    let sectorsRead = 0;
    let writes = 0;
    let sectorsWritten = 0;
    for (; nth < count; nth++) {
      const at = first + nth * cqeWords & lastWord;
      const slot = cqes[at];
      const kind = cqes[at + 1];
      const result = cqes[at + 2];
      if (kind === io) {
        if (result !== ok) break;
        // struct ublksrv_io_desc
        const from = descriptorWords[slot] & descriptorBits;
        const opFlags = words[from];
        if ((opFlags & other) !== 0) break;
        const sectors = words[from + 1];
        const sectorLow = words[from + 2];
        const to = operations + slot << sqeShift & sqeBits;
        const op = opFlags & 1;
        sqes[to] = opcodes[sectors <= fixedSectors ? op | fixed : op];
        if (op === 0) {
          reads++;
          sectorsRead = (sectorsRead + sectors) | 0;
        } else {
          writes++;
          sectorsWritten = (sectorsWritten + sectors) | 0;
        }
        sqes[to + 2] = sectorLow << 9;
        sqes[to + 3] = words[from + 3] << 9 | sectorLow >>> 23;
        sqes[to + 6] = sectors << 9;
        // If the slot's last answer was left to the kernel, the slot still counts as held.
        if (plain[slot] !== followed) begun++;
        plain[slot] = expected;
        states[slot] = held;
        queue[queued++] = operations + slot;
      } else if (kind === backend) {
        if (plain[slot] !== expected) break;
        if (sqes[(operations + slot << sqeShift & sqeBits) + 6] !== result) break;
        plain[slot] = notPlain;
        states[slot] = idle;
        done++;
        const to = commits + slot << sqeShift & sqeBits;
        sqes[to + 2] = commit;
        sqes[to + 13] = result;
        queue[queued++] = commits + slot;
      } else break;
    }
    if (queued === 0) return nth;
    ring.againMany(queue, queued);
    handler.outstanding += begun - done;
    slots.held += begun - done;
    if (handler.outstanding < 0 || slots.held < 0) fail("no more are answered than have come");
    if (reads > 0) stats.countMany(readOp, reads, sectorsRead);
    if (writes > 0) stats.countMany(writeOp, writes, sectorsWritten);
    return nth;
  };
}
