/**
 * Integrity metadata that means nothing to check: 0xFF, above all in its application and reference
 * tags. NVMe disks return it for blocks that were never written or are deallocated.
 *
 * @module
 */

import { writeAllAt } from "../uring/file.ts";

const ONES = new Uint8Array(64 << 10).fill(0xff);

/**
 * Writes such metadata over bytes `from` to `end` of a file.
 *
 * @throws {UblkError} `SYSCALL_FAILED`.
 */
export function writeUnchecked(fd: number, from: number, end: number): void {
  for (let at = from; at < end; at += ONES.length) {
    const bytes = end - at;
    writeAllAt(fd, bytes < ONES.length ? ONES.subarray(0, bytes) : ONES, at);
  }
}
