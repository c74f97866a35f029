/**
 * Functions that fill SQEs. Each writes every word that its operation reads and clears the others.
 *
 * The user data comes back in the CQE as two 32-bit words: `userData`, with a meaning chosen by the
 * caller (a slot, an index), and a small `kind` that distinguishes the caller's types of
 * completions.
 *
 * @module
 */

import {
  IORING_FSYNC_DATASYNC,
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_NOP,
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_TIMEOUT,
  IORING_OP_URING_CMD,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  RWF_DSYNC,
} from "../uapi/io_uring_sqe.ts";
import { fail } from "../uapi/error.ts";
import type { Ring } from "./ring.ts";

const TWO_32 = 0x1_0000_0000;

/**
 * Takes a free SQE, fills in opcode, descriptor and user data, and clears the rest. Returns its
 * word index, or -1 if the queue is full.
 */
export function prepare(
  ring: Ring,
  opcode: number,
  fd: number,
  userData: number,
  kind: number,
): number {
  const at = ring.next();
  if (at < 0) return -1;
  const sqes = ring.sqes;
  clear(sqes, at, at + ring.sqeWords);
  sqes[at] = opcode;
  sqes[at + 1] = fd;
  sqes[at + 8] = userData;
  sqes[at + 9] = kind;
  return at;
}

/** Zeroes words. A loop is faster than a call of `fill` for so few. */
export function clear(words: Uint32Array, from: number, to: number): void {
  for (let at = from; at < to; at++) words[at] = 0;
}

/** Writes a 64-bit value into two words. A number must represent it exactly. */
export function put64(words: Uint32Array, at: number, value: number): void {
  words[at] = value >>> 0;
  words[at + 1] = value / TWO_32;
}

/** Sets `IOSQE_*` flags on a filled SQE. */
export function setSqeFlags(ring: Ring, at: number, flags: number): void {
  if ((flags & ~0xff) !== 0) fail("the flags of an SQE fit their byte");
  ring.sqes[at] |= flags << 8;
}

/** Makes a filled write durable before it completes: its own bytes, and nothing else. */
export function writeDurably(ring: Ring, at: number): void {
  ring.sqes[at + 7] = RWF_DSYNC;
}

/** `IORING_OP_NOP`: does nothing and completes with 0. */
export function prepNop(ring: Ring, userData: number, kind: number): number {
  return prepare(ring, IORING_OP_NOP, -1, userData, kind);
}

/** `IORING_OP_READ` or, with `bufferIndex`, `IORING_OP_READ_FIXED`. */
export function prepRead(
  ring: Ring,
  fd: number,
  address: number,
  bytes: number,
  offset: number,
  userData: number,
  kind: number,
  bufferIndex = -1,
): number {
  const opcode = bufferIndex < 0 ? IORING_OP_READ : IORING_OP_READ_FIXED;
  return transfer(ring, opcode, fd, address, bytes, offset, userData, kind, bufferIndex);
}

/** `IORING_OP_WRITE` or, with `bufferIndex`, `IORING_OP_WRITE_FIXED`. */
export function prepWrite(
  ring: Ring,
  fd: number,
  address: number,
  bytes: number,
  offset: number,
  userData: number,
  kind: number,
  bufferIndex = -1,
): number {
  const opcode = bufferIndex < 0 ? IORING_OP_WRITE : IORING_OP_WRITE_FIXED;
  return transfer(ring, opcode, fd, address, bytes, offset, userData, kind, bufferIndex);
}

function transfer(
  ring: Ring,
  opcode: number,
  fd: number,
  address: number,
  bytes: number,
  offset: number,
  userData: number,
  kind: number,
  bufferIndex: number,
): number {
  const at = prepare(ring, opcode, fd, userData, kind);
  if (at < 0) return -1;
  put64(ring.sqes, at + 2, offset);
  put64(ring.sqes, at + 4, address);
  ring.sqes[at + 6] = bytes;
  if (bufferIndex >= 0) ring.sqes[at + 10] = bufferIndex;
  return at;
}

/** `fsync`, or `fdatasync` with `dataOnly`. */
export function prepFsync(
  ring: Ring,
  fd: number,
  dataOnly: boolean,
  userData: number,
  kind: number,
): number {
  const at = prepare(ring, IORING_OP_FSYNC, fd, userData, kind);
  if (at >= 0) ring.sqes[at + 7] = dataOnly ? IORING_FSYNC_DATASYNC : 0;
  return at;
}

/** `fallocate(2)` with the given mode bits. */
export function prepFallocate(
  ring: Ring,
  fd: number,
  mode: number,
  offset: number,
  bytes: number,
  userData: number,
  kind: number,
): number {
  const at = prepare(ring, IORING_OP_FALLOCATE, fd, userData, kind);
  if (at < 0) return -1;
  put64(ring.sqes, at + 2, offset);
  // The length of fallocate is in `addr`, its mode in `len`.
  put64(ring.sqes, at + 4, bytes);
  ring.sqes[at + 6] = mode;
  return at;
}

/**
 * A timeout. It completes with -ETIME after the time in the `struct __kernel_timespec` at
 * `address`, or with 0 after `count` other completions (0: never).
 */
export function prepTimeout(
  ring: Ring,
  address: number,
  count: number,
  userData: number,
  kind: number,
): number {
  const at = prepare(ring, IORING_OP_TIMEOUT, -1, userData, kind);
  if (at < 0) return -1;
  put64(ring.sqes, at + 2, count);
  put64(ring.sqes, at + 4, address);
  ring.sqes[at + 6] = 1;
  return at;
}

/** Cancels the operation that was submitted with `targetData` and `targetKind`. */
export function prepCancel(
  ring: Ring,
  targetData: number,
  targetKind: number,
  userData: number,
  kind: number,
): number {
  const at = prepare(ring, IORING_OP_ASYNC_CANCEL, -1, userData, kind);
  if (at < 0) return -1;
  ring.sqes[at + 4] = targetData;
  ring.sqes[at + 5] = targetKind;
  return at;
}

/** `IORING_OP_URING_CMD`: a command to the driver behind `fd`. Its own words start at `at + 12`. */
export function prepUringCmd(
  ring: Ring,
  fd: number,
  cmdOp: number,
  userData: number,
  kind: number,
): number {
  const at = prepare(ring, IORING_OP_URING_CMD, fd, userData, kind);
  if (at >= 0) ring.sqes[at + 2] = cmdOp;
  return at;
}
