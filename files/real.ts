/**
 * The kernel's files, through libc: with Deno's permissions there is no other way to reach all
 * files.
 *
 * @module
 */

import { asDenied } from "../uapi/denied.ts";
import { EBADF, EINVAL, EOPNOTSUPP, errnoNumber } from "../uapi/errno.ts";
import {
  closeLocked,
  dropPageCache,
  endOfFile,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  fallocateFile,
  fileStatus,
  linkFile,
  lockFile,
  makeFolder,
  O_CREAT,
  O_DIRECT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  readAt,
  removeFile,
  renameFile,
  smallText,
  syncFile,
  syncFileAndStatus,
  truncateFile,
  writeAt,
} from "../uring/file.ts";
import { hasCheapDurability } from "../uring/device_queue.ts";
import { closeFd, openFile } from "../uring/libc.ts";
import { fileError } from "./file_error.ts";
import type { Allocation, File, Files, OpenOptions, PathStatus } from "./port.ts";

const CREATE: Readonly<Record<NonNullable<OpenOptions["create"]>, number>> = {
  "if-missing": O_CREAT,
  new: O_CREAT | O_EXCL,
};

const MODES: Readonly<Record<Allocation, number>> = {
  reserve: FALLOC_FL_KEEP_SIZE,
  extend: 0,
  punch: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
  zero: FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
};

/** The files of this machine. */
export const realFiles: Files = {
  open(path, { write = false, create, mode = 0o644, truncate = false, direct = false } = {}) {
    const flags = (write ? O_RDWR : O_RDONLY) | (create === undefined ? 0 : CREATE[create]) |
      (truncate ? O_TRUNC : 0) | (direct ? O_DIRECT : 0);
    return new RealFile(openFile(path, flags, mode), path);
  },
  status: (path): PathStatus | undefined => fileStatus(path),
  rename: renameFile,
  link: linkFile,
  remove: removeFile,
  makeFolder: (path) => makeFolder(path, 0o755),
  list(path) {
    try {
      return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
    } catch (error) {
      const denied = asDenied(error, { operation: `readdir ${path}` }, "give another folder");
      if (denied !== undefined) throw denied;
      const errno = errnoNumber((error as { code?: string }).code ?? "");
      throw errno === undefined ? error : fileError(`readdir ${path}`, errno);
    }
  },
  syncFolder(path) {
    const fd = openFile(path, O_RDONLY);
    try {
      // Not fdatasync: names are not data, and a filesystem may skip them.
      const result = syncFileAndStatus(fd);
      // Some filesystems cannot sync folders.
      if (result !== -EINVAL) check("fsync", result);
    } finally {
      closeFd(fd);
    }
  },
  hasCheapDurability: (path) => {
    const status = fileStatus(path);
    return status !== undefined && hasCheapDurability(status.filesystem);
  },
  boot: () => smallText("/proc/sys/kernel/random/boot_id")?.trim(),
};

/** An open file of the kernel. */
export class RealFile implements File {
  readonly path: string;
  /** -1 after closing. The kernel then fails every call with EBADF. */
  #fd: number;
  #isLocked = false;

  /** Takes over an open descriptor, which {@linkcode close} closes. */
  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.path = path;
  }

  /** The descriptor, for operations through a ring; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    return check("pread", readAt(this.#fd, buffer, offset));
  }

  writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    return check("pwrite", writeAt(this.#fd, buffer, offset));
  }

  writeDurably(buffer: Uint8Array<ArrayBuffer>, offset: number): number {
    const count = this.writeAt(buffer, offset);
    this.sync(true);
    return count;
  }

  sync(dataOnly: boolean): void {
    if (dataOnly) check("fdatasync", syncFile(this.#fd));
    else check("fsync", syncFileAndStatus(this.#fd));
  }

  size(): number {
    return endOfFile(this.#fd);
  }

  truncate(bytes: number): void {
    truncateFile(this.#fd, bytes);
  }

  allocate(how: Allocation, offset: number, length: number): boolean {
    const result = fallocateFile(this.#fd, MODES[how], offset, length);
    if (result === -EOPNOTSUPP) return false;
    check("fallocate", result);
    return true;
  }

  lock(how: "exclusive" | "shared"): boolean {
    // What it had is lost if it cannot have another.
    return this.#isLocked = lockFile(this.#fd, how);
  }

  dropCache(): void {
    check("posix_fadvise", dropPageCache(this.#fd));
  }

  close(): void {
    const fd = this.#fd;
    if (fd < 0) throw fileError("close", EBADF);
    // Forget it first: the number may belong to another file as soon as it is free.
    this.#fd = -1;
    if (this.#isLocked) closeLocked(fd);
    else closeFd(fd);
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) this.close();
  }
}

function check(operation: string, result: number): number {
  if (result < 0) throw fileError(operation, -result);
  return result;
}
