/**
 * A disk in a file, through the serving thread's ring: the smallest backend of its kind.
 *
 * @module
 */

import type { Backend, RingMethods, Sharing } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { EIO, EOPNOTSUPP } from "../../uapi/errno.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../../uapi/ublk_io.ts";
import { closeFd, openFile } from "../../uring/libc.ts";

const O_RDWR = 2;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** Threads share the file through the kernel. */
export const sharing: Sharing = "per-queue";

/** A disk in the file at `path`, which has `size` bytes. */
export function ringFile(path: string, size: number): BackendSpec {
  return { module: import.meta.url, options: { path, size } };
}

/** Opens the disk. */
export function open(options: unknown): Backend {
  const { path, size } = options as { path: string; size: number };
  const fd = openFile(path, O_RDWR);
  const ring: RingMethods = {
    operations: 1,
    prepare({ op, length, offset }, ring) {
      if (op === UBLK_IO_OP_READ) ring.read(fd, 0, length, offset);
      else if (op === UBLK_IO_OP_WRITE) ring.write(fd, 0, length, offset);
      else if (op === UBLK_IO_OP_FLUSH) ring.fsync(fd, true);
      else if (op === UBLK_IO_OP_DISCARD || op === UBLK_IO_OP_WRITE_ZEROES) {
        ring.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length);
      } else return -EOPNOTSUPP;
    },
    complete({ op, length }, result) {
      const transfers = op === UBLK_IO_OP_READ || op === UBLK_IO_OP_WRITE;
      // A file that has shrunk reads short, which is an error.
      return result >= 0 && transfers && result !== length ? -EIO : result;
    },
  };
  const unused = () => {
    throw new Error("the ring serves this backend");
  };
  return {
    size,
    synchronous: true,
    ring,
    readAt: unused,
    writeAt: unused,
    flush: unused,
    trim: unused,
    writeZeroes: unused,
    close: () => closeFd(fd),
  };
}
