/**
 * The name of a device on a command line: its number, or one of its nodes.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";

/**
 * Returns the number of a device, in digits, from `0`, `ublkb0`, `/dev/ublkb0` or `/dev/ublkc0`. A
 * number is returned as it is, in range or not.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for a partition, and for anything that is not a device.
 */
export function deviceNumber(text: string): string {
  if (/^-?\d+$/.test(text)) return text;
  const [, number, partition] = /^(?:\/dev\/)?ublk[bc](\d+)(p\d+)?$/.exec(text) ?? [];
  if (number === undefined) {
    throw mistake(text, "it is no device of ublk", "give its number, or /dev/ublkbN");
  }
  if (partition !== undefined) {
    throw mistake(text, "it is a partition", `give the disk: /dev/ublkb${number}`);
  }
  return number;
}

function mistake(operation: string, reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation, reason, hint });
}
