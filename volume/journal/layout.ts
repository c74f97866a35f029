/**
 * How many segments a journal has, and how large they are.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { MAX_SEGMENTS } from "./files.ts";

const MIB = 1 << 20;
/** A segment holds several of the largest batches. */
const LEAST_SEGMENT = 4 * MIB;
const MOST_SEGMENT = 64 * MIB;
/** Segments of a journal, unless they would be too small or too large. */
const SEGMENTS = 16;
/** With fewer, the journal is full as soon as one segment is. */
const LEAST_SEGMENTS = 4;

/** The size of a journal if nobody says otherwise, in bytes. */
export const DEFAULT_JOURNAL_BYTES = 1024 * MIB;

/**
 * Divides a journal into segments.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if it is too small or too large.
 */
export function journalLayout(bytes: number): { segmentSize: number; segments: number } {
  const wanted = Math.floor(bytes / SEGMENTS / MIB) * MIB;
  const segmentSize = Math.min(MOST_SEGMENT, Math.max(LEAST_SEGMENT, wanted));
  const segments = Math.floor(bytes / segmentSize);
  if (!(segments >= LEAST_SEGMENTS && segments <= MAX_SEGMENTS)) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "volume",
      reason: `a journal of ${bytes} bytes is not possible`,
      hint: `use ${LEAST_SEGMENTS * LEAST_SEGMENT / MIB}M to ${
        MAX_SEGMENTS * MOST_SEGMENT / (1024 * MIB)
      }G`,
    });
  }
  return { segmentSize, segments };
}
