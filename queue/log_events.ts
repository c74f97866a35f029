/**
 * The vocabulary of the log: its levels, and the formats of the events that trace every I/O.
 *
 * @module
 */

import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_META,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_F_SWAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { errnoName } from "../uapi/errno.ts";

/** The level of the I/O trace, below every level of `@std/log`. */
export const LOG_TRACE = 5;
/** `DEBUG` of `@std/log`. */
export const LOG_DEBUG = 10;
/** `INFO` of `@std/log`. */
export const LOG_INFO = 20;
/** `WARN` of `@std/log`. */
export const LOG_WARN = 30;
/** `ERROR` of `@std/log`. */
export const LOG_ERROR = 40;
/** A threshold above every level, so that nothing is logged. */
export const LOG_SILENT = 1000;

/** The meaning of an event. Its id is its index in the table. */
export interface LogEvent {
  /** The level at which it is logged. */
  readonly level: number;
  /** Formats the event's numbers. Called on the reader's side. */
  readonly format: (a: number, b: number, c: number, d: number) => string;
}

/** A request arrived: `queue | tag << 16`, `op_flags`, offset in bytes, length in bytes. */
export const EVENT_REQUEST = 0;
/** A request was answered: `queue | tag << 16`, the result. */
export const EVENT_ANSWER = 1;

const OPERATIONS: Readonly<Record<number, string>> = {
  [UBLK_IO_OP_READ]: "READ",
  [UBLK_IO_OP_WRITE]: "WRITE",
  [UBLK_IO_OP_FLUSH]: "FLUSH",
  [UBLK_IO_OP_DISCARD]: "DISCARD",
  [UBLK_IO_OP_WRITE_ZEROES]: "WRITE_ZEROES",
};
const FLAGS: readonly (readonly [number, string])[] = [
  [UBLK_IO_F_META, "META"],
  [UBLK_IO_F_FUA, "FUA"],
  [UBLK_IO_F_NOUNMAP, "NOUNMAP"],
  [UBLK_IO_F_SWAP, "SWAP"],
];

/** Formats `op_flags`, for example as `WRITE|FUA`. */
export function opFlagsText(opFlags: number): string {
  const op = opFlags & 0xff;
  const flags = FLAGS.filter(([bit]) => (opFlags & bit) !== 0).map(([, name]) => name);
  return [OPERATIONS[op] ?? `operation ${op}`, ...flags].join("|");
}

function slotText(identity: number): string {
  return `queue ${identity & 0xffff} tag ${identity >>> 16}`;
}

/** The events of a serving thread, by id. */
export const LOG_EVENTS: readonly LogEvent[] = [
  {
    level: LOG_TRACE,
    format: (identity, opFlags, offset, bytes) =>
      `${slotText(identity)}: ${opFlagsText(opFlags)} ${bytes} bytes at ${offset}`,
  },
  {
    level: LOG_TRACE,
    format: (identity, result) =>
      `${slotText(identity)}: answered ${result < 0 ? `-${errnoName(result)}` : result}`,
  },
];
