/**
 * A device as people call it on a command line: by its number, or by one of its nodes.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";

/**
 * The number of a device, in digits: of `0`, `ublkb0`, `/dev/ublkb0` and `/dev/ublkc0`. A number
 * stays as it is, in range or not.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for a partition, and for what is no device.
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
