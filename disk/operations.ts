/**
 * The operations of requests to a disk, from ublk or elsewhere. They are the block layer's, with
 * ublk's numbers. A successful request is answered with a number of bytes.
 *
 * @module
 */

import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_REPORT_ZONES,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_OP_ZONE_APPEND,
  UBLK_IO_OP_ZONE_OPEN,
} from "../uapi/ublk_io.ts";

// V8 inlines constants of this module. It loads and checks an imported one on each use.
const READ = UBLK_IO_OP_READ;
const WRITE = UBLK_IO_OP_WRITE;

/** An operation on a disk, by its name in options. */
export type OperationName = "read" | "write" | "flush" | "trim" | "zero";

/** All operation names. */
export const OPERATION_NAMES: readonly OperationName[] = [
  "read",
  "write",
  "flush",
  "trim",
  "zero",
];

/** The `UBLK_IO_OP_*` of each name. */
export const OPERATION_NUMBERS: Readonly<Record<OperationName, number>> = {
  read: UBLK_IO_OP_READ,
  write: UBLK_IO_OP_WRITE,
  flush: UBLK_IO_OP_FLUSH,
  trim: UBLK_IO_OP_DISCARD,
  zero: UBLK_IO_OP_WRITE_ZEROES,
};

/** Whether an operation carries data: READ or WRITE. */
export function carriesData(op: number): boolean {
  return op === READ || op === WRITE;
}

/** Whether an operation exists only on zoned disks. */
export function isZoneOperation(op: number): boolean {
  return op >= UBLK_IO_OP_ZONE_OPEN;
}

/** Whether the request of an operation carries data to the disk. */
export function bringsData(op: number): boolean {
  return op === UBLK_IO_OP_WRITE || op === UBLK_IO_OP_ZONE_APPEND;
}

/** Whether the answer to an operation carries data. */
export function fetchesData(op: number): boolean {
  return op === UBLK_IO_OP_READ || op === UBLK_IO_OP_REPORT_ZONES;
}

/** The result of a successful request: its bytes for READ and WRITE, 0 for all others. */
export function fullResult(op: number, bytes: number): number {
  return carriesData(op) ? bytes : 0;
}
