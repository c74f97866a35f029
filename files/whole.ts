/**
 * All of a buffer, or an error: the one place that goes on after a short count or a signal.
 *
 * @module
 */

import { EINTR, EIO } from "../uapi/errno.ts";
import { errnoOfFile, fileError } from "./file_error.ts";
import type { File } from "./port.ts";

/**
 * Fills a buffer from an offset.
 *
 * @throws {UblkError} EIO where the file ends before: somebody has made it shorter.
 */
export function readWhole(file: File, buffer: Uint8Array<ArrayBuffer>, offset: number): void {
  if (readUpTo(file, buffer, offset) < buffer.length) throw fileError("pread", EIO);
}

/** Reads from an offset to the end of the buffer or of the file. @returns Bytes. */
export function readUpTo(file: File, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  let done = 0;
  while (done < buffer.length) {
    const rest = done === 0 ? buffer : buffer.subarray(done);
    try {
      const count = file.readAt(rest, offset + done);
      if (count === 0) break;
      done += count;
    } catch (error) {
      if (errnoOfFile(error) !== EINTR) throw error;
    }
  }
  return done;
}

/** Writes all of a buffer at an offset. */
export function writeWhole(file: File, buffer: Uint8Array<ArrayBuffer>, offset: number): void {
  for (let done = 0; done < buffer.length;) {
    const rest = done === 0 ? buffer : buffer.subarray(done);
    try {
      const count = file.writeAt(rest, offset + done);
      // No call that is in order writes nothing: it would go on for ever.
      if (count === 0) throw fileError("pwrite", EIO);
      done += count;
    } catch (error) {
      if (errnoOfFile(error) !== EINTR) throw error;
    }
  }
}

/** Writes zeroes over a range, a portion at a time. */
export function writeZeroes(file: File, offset: number, length: number): void {
  const zeroes = new Uint8Array(Math.min(length, ZEROES_BYTES));
  for (let done = 0; done < length; done += zeroes.length) {
    const portion = zeroes.subarray(0, Math.min(zeroes.length, length - done));
    writeWhole(file, portion, offset + done);
  }
}

/** Zeroes that are written at a time. */
const ZEROES_BYTES = 1 << 20;
