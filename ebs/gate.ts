/**
 * The gate between a disk and those whom it must not answer any more.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";

/**
 * A disk that can be shut: no request is answered with success once it is, whoever has it by then. The
 * server does not close it.
 */
export function gated(disk: Backend, gate: { readonly isShut: boolean }, volume: string): Backend {
  const check = () => {
    if (!gate.isShut) return;
    const reason = "the node has lost the volume";
    throw new UblkError("SYSCALL_FAILED", { operation: `volume ${volume}`, reason, errno: EIO });
  };
  const through = async <T>(request: () => T | Promise<T>): Promise<T> => {
    check();
    const answer = await request();
    check();
    return answer;
  };
  /** The same, without a Promise where there was none: there are thousands of extents. */
  const extentAt = (offset: number, length: number) => {
    check();
    const extent = disk.extentAt!(offset, length);
    return "then" in extent ? through(() => extent) : extent;
  };
  const { blockSize, readOnly, fua } = disk;
  return {
    get size() {
      return disk.size;
    },
    ...{ blockSize, readOnly, fua },
    persistent: true,
    readAt: (buffer, offset) => through(() => disk.readAt(buffer, offset)),
    writeAt: (buffer, offset, options) => through(() => disk.writeAt(buffer, offset, options)),
    flush: () => through(() => disk.flush!()),
    ...disk.extentAt && { extentAt },
    // A disk that only reads has neither.
    ...disk.trim && { trim: (offset, length) => through(() => disk.trim!(offset, length)) },
    ...disk.writeZeroes && {
      writeZeroes: (offset, length, options) =>
        through(() => disk.writeZeroes!(offset, length, options)),
    },
  };
}
