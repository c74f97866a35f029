/**
 * Whole transfers: all of a buffer, or an error. The only place that handles short counts and
 * EINTR.
 *
 * @module
 */

import { EINTR, EIO } from "../uapi/errno.ts";
import { errnoOfFile, fileError } from "./file_error.ts";
import type { File } from "./port.ts";

/**
 * Fills a whole buffer, starting at an offset of the file.
 *
 * @throws {UblkError} EIO if the file ends too early: somebody has shortened it.
 */
export function readWhole(file: File, buffer: Uint8Array<ArrayBuffer>, offset: number): void {
  if (readUpTo(file, buffer, offset) < buffer.length) throw fileError("pread", EIO);
}

/** Reads from an offset until the buffer is full or the file ends. @returns The number of bytes. */
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
      // A working call never writes nothing. Without this error the loop would never end.
      if (count === 0) throw fileError("pwrite", EIO);
      done += count;
    } catch (error) {
      if (errnoOfFile(error) !== EINTR) throw error;
    }
  }
}

/** Writes zeroes over a range, one portion at a time. */
export function writeZeroes(file: File, offset: number, length: number): void {
  const zeroes = new Uint8Array(Math.min(length, ZEROES_BYTES));
  for (let done = 0; done < length; done += zeroes.length) {
    const portion = zeroes.subarray(0, Math.min(zeroes.length, length - done));
    writeWhole(file, portion, offset + done);
  }
}

/** Size of a portion in bytes. */
const ZEROES_BYTES = 1 << 20;
