/**
 * A file as a disk by Promises, through the ring that `open` is given; and a place in it that is a
 * FIFO, whose reads never end.
 *
 * @module
 */

import type { Backend, OpenContext } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { EIO } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { closeFd, openFile } from "../../uring/libc.ts";

const O_RDWR = 2;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

interface Options {
  readonly path: string;
  readonly size: number;
  readonly fifo?: string;
}

/** Where reads go to the FIFO, in bytes from the start of the disk. */
export const STUCK_AT = 1 << 20;

/** A disk in the file of that path, which has that size in bytes. */
export function asyncFile(path: string, size: number, fifo?: string): BackendSpec {
  return { module: import.meta.url, options: { path, size, fifo } satisfies Options };
}

/** The module contract. */
export async function open(options: unknown, { ring }: OpenContext): Promise<Backend> {
  const { path, size, fifo } = options as Options;
  const fd = openFile(path, O_RDWR);
  const stuck = fifo === undefined ? -1 : openFile(fifo, O_RDWR);
  // It is there before the device is.
  await ring.fallocate(fd, 0, 0, size);
  const punch = (offset: number, length: number) =>
    ring.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length);
  return {
    size,
    async readAt(buffer, offset) {
      if (stuck >= 0 && offset === STUCK_AT) return void await ring.read(stuck, buffer, 0);
      const count = await ring.read(fd, buffer, offset);
      if (count !== buffer.length) {
        throw new UblkError("UNEXPECTED", { operation: "read", errno: EIO });
      }
    },
    async writeAt(buffer, offset) {
      const count = await ring.write(fd, buffer, offset);
      if (count !== buffer.length) {
        throw new UblkError("UNEXPECTED", { operation: "write", errno: EIO });
      }
    },
    flush: () => ring.fsync(fd, { dataOnly: true }),
    trim: punch,
    writeZeroes: punch,
    async close() {
      // It is there after the device has gone, too.
      await ring.fsync(fd);
      closeFd(fd);
      if (stuck >= 0) closeFd(stuck);
    },
  };
}
