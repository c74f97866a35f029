/**
 * The requests that a disk gets, whoever asks: their operations and flags are the block layer's, by
 * ublk's numbers, and a request without error answers a count of bytes.
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

/** An operation on a disk, by the name that options have for it. */
export type OperationName = "read" | "write" | "flush" | "trim" | "zero";

/** All of them. */
export const OPERATION_NAMES: readonly OperationName[] = [
  "read",
  "write",
  "flush",
  "trim",
  "zero",
];

/** The `UBLK_IO_OP_*` of each. */
export const OPERATION_NUMBERS: Readonly<Record<OperationName, number>> = {
  read: UBLK_IO_OP_READ,
  write: UBLK_IO_OP_WRITE,
  flush: UBLK_IO_OP_FLUSH,
  trim: UBLK_IO_OP_DISCARD,
  zero: UBLK_IO_OP_WRITE_ZEROES,
};

/** Whether an operation carries data. */
export function carriesData(op: number): boolean {
  return op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE;
}

/** Whether an operation is one of those that only zoned disks get. */
export function isZoneOperation(op: number): boolean {
  return op >= UBLK_IO_OP_ZONE_OPEN;
}

/** Whether an operation brings data. */
export function bringsData(op: number): boolean {
  return op === UBLK_IO_OP_WRITE || op === UBLK_IO_OP_ZONE_APPEND;
}

/** Whether an operation is answered with data. */
export function fetchesData(op: number): boolean {
  return op === UBLK_IO_OP_READ || op === UBLK_IO_OP_REPORT_ZONES;
}

/** The bytes that a request without error answers: only READ and WRITE count any. */
export function fullResult(op: number, bytes: number): number {
  return carriesData(op) ? bytes : 0;
}
