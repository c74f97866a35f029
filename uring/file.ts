/**
 * Files by libc: what Deno's own API cannot do (locks, holes, `O_DIRECT`), or does only with every
 * permission there is (whatever lies under `/dev` and `/sys`).
 *
 * @module
 */

import { EAGAIN, EINTR, EIO, ENOENT, ENOTDIR } from "../uapi/errno.ts";
import { closeFd, cString, errno, libc, namesLibc, syscallError } from "./libc.ts";

/** For reading only. */
export const O_RDONLY = 0;
/** For writing only. */
export const O_WRONLY = 1;
/** For reading and writing. */
export const O_RDWR = 2;
/** Made where it is not there. */
export const O_CREAT = 0o100;
/** With `O_CREAT`: it must not exist. For a block device: nobody else may hold it. */
export const O_EXCL = 0o200;
/** What it had is gone. */
export const O_TRUNC = 0o1000;
/** Writes go to its end, whole. */
export const O_APPEND = 0o2000;
/** Past the page cache. Of the few flags that have another value on ARM. */
export const O_DIRECT: number = Deno.build.arch === "aarch64" ? 0o200000 : 0o40000;

/** `fallocate(2)`: the file's length stays. */
export const FALLOC_FL_KEEP_SIZE = 1;
/** `fallocate(2)`: the space is given back; it reads as zeroes. */
export const FALLOC_FL_PUNCH_HOLE = 2;
/** `fallocate(2)`: it reads as zeroes; the space stays. */
export const FALLOC_FL_ZERO_RANGE = 16;

/** What sort of thing a path names. */
export type FileKind =
  | "file"
  | "directory"
  | "block device"
  | "character device"
  | "pipe"
  | "socket"
  | "thing of no known kind";

/** What is known of a file. */
export interface FileStatus {
  /** Its sort. */
  readonly kind: FileKind;
  /** Its length in bytes; 0 for a device. */
  readonly bytes: number;
  /** The bytes that it takes on its filesystem: fewer than its length where it has holes. */
  readonly allocatedBytes: number;
  /** The same text for every path to the same file. */
  readonly identity: string;
  /** `major:minor` of the device that it is. */
  readonly device: string;
  /** `major:minor` of the device that its filesystem is on; of nothing where that is on none. */
  readonly filesystem: string;
  /** Bytes in which its filesystem works best: mostly its block. */
  readonly blockBytes: number;
  /**
   * The multiples of bytes at which `O_DIRECT` wants memory and offsets; undefined where the kernel
   * (before 6.1) or the filesystem does not say.
   */
  readonly directAlignment?: { readonly memory: number; readonly offset: number };
}

const KINDS: ReadonlyMap<number, FileKind> = new Map([
  [0o100000, "file"],
  [0o040000, "directory"],
  [0o060000, "block device"],
  [0o020000, "character device"],
  [0o010000, "pipe"],
  [0o140000, "socket"],
]);

/**
 * What a path names; nothing is opened. Undefined where there is nothing.
 *
 * @throws {UblkError} `SYSCALL_FAILED`.
 */
export function fileStatus(path: string): FileStatus | undefined {
  const AT_FDCWD = -100;
  const STATX_BASIC_STATS = 0x7ff;
  const STATX_DIOALIGN = 0x2000;
  // struct statx
  const bytes = new Uint8Array(256);
  if (libc().statx(AT_FDCWD, cString(path), 0, STATX_BASIC_STATS | STATX_DIOALIGN, bytes) < 0) {
    const number = errno();
    // ENOENT: it is not there; ENOTDIR: neither is its folder.
    if (number === ENOENT || number === ENOTDIR) return undefined;
    throw syscallError(`stat ${path}`, undefined, number);
  }
  const view = new DataView(bytes.buffer);
  const u32 = (at: number) => view.getUint32(at, true);
  const u64 = (at: number) => view.getBigUint64(at, true);
  const kind = KINDS.get(view.getUint16(28, true) & 0o170000) ?? "thing of no known kind";
  return {
    kind,
    bytes: Number(u64(40)),
    allocatedBytes: Number(u64(48)) * 512,
    // A device is what its number says, whichever of its nodes is asked for.
    identity: kind === "block device"
      ? `block ${u32(128)}:${u32(132)}`
      : `${u32(136)}:${u32(140)}:${u64(32)}`,
    device: `${u32(128)}:${u32(132)}`,
    filesystem: `${u32(136)}:${u32(140)}`,
    blockBytes: u32(4),
    // Both are 0 for what has no direct I/O.
    ...((u32(0) & STATX_DIOALIGN) === 0 || u32(156) === 0
      ? {}
      : { directAlignment: { memory: u32(152), offset: u32(156) } }),
  };
}

/** The length of an open file, or the size of an open block device, in bytes. */
export function endOfFile(fd: number): number {
  const SEEK_END = 2;
  const end = Number(libc().lseek(fd, 0n, SEEK_END));
  if (end < 0) throw syscallError("lseek");
  return end;
}

/**
 * The first hole at or after `offset`, and where data goes on after it; undefined where there is
 * none before `end`. A filesystem that does not know of holes has none.
 */
export function nextHole(
  fd: number,
  offset: number,
  end: number,
): { start: number; end: number } | undefined {
  const SEEK_DATA = 3;
  const SEEK_HOLE = 4;
  if (offset >= end) return undefined;
  const start = Number(libc().lseek(fd, BigInt(offset), SEEK_HOLE));
  // ENXIO: the file ends before. EINVAL: a device, which has none.
  if (start < 0 || start >= end) return undefined;
  const data = Number(libc().lseek(fd, BigInt(start), SEEK_DATA));
  // ENXIO: nothing but the hole up to the end.
  return { start, end: data < 0 ? end : Math.min(data, end) };
}

/**
 * Takes the lock of an open file, which lasts until every copy of the descriptor is closed.
 *
 * @returns Whether nobody else had it.
 */
export function lockFile(fd: number, how: "exclusive" | "shared"): boolean {
  const LOCK_SH = 1;
  const LOCK_EX = 2;
  const LOCK_NB = 4;
  if (libc().flock(fd, LOCK_NB | (how === "shared" ? LOCK_SH : LOCK_EX)) === 0) return true;
  const number = errno();
  if (number === EAGAIN || number === EINTR) return false;
  throw syscallError("flock", undefined, number);
}

/** Sets a file's length in bytes; what is new is a hole. */
export function truncateFile(fd: number, bytes: number): void {
  if (libc().ftruncate(fd, BigInt(bytes)) < 0) throw syscallError("ftruncate");
}

/** So often a call is made again that a signal has interrupted. */
const TRIES = 100;

/** `fallocate(2)`, again where a signal interrupts it. @returns 0 or a negative errno. */
export function fallocateFile(fd: number, mode: number, offset: number, bytes: number): number {
  for (let tries = 1;; tries++) {
    if (libc().fallocate(fd, mode, BigInt(offset), BigInt(bytes)) >= 0) return 0;
    const number = errno();
    if (number !== EINTR || tries === TRIES) return -number;
  }
}

/**
 * Gives back the space of a range, which then reads as zeroes. The length of the file stays: the
 * kernel punches no holes otherwise. @returns 0 or a negative errno.
 */
export function punchFile(fd: number, offset: number, bytes: number): number {
  return fallocateFile(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
}

/** Whether a value can be the path of a file. */
export function isPath(value: unknown): value is string {
  return typeof value === "string" && value !== "" && !value.includes("\0");
}

/** `pread(2)`. @returns Bytes, 0 at the end, or a negative errno. */
export function readAt(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  const count = libc().pread(fd, buffer, BigInt(buffer.length), BigInt(offset));
  return count < 0 ? -errno() : count;
}

/** `pwrite(2)`. @returns Bytes, or a negative errno. */
export function writeAt(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  const count = libc().pwrite(fd, buffer, BigInt(buffer.length), BigInt(offset));
  return count < 0 ? -errno() : count;
}

/** `fdatasync(2)`. @returns 0 or a negative errno. */
export function syncFile(fd: number): number {
  return libc().fdatasync(fd) < 0 ? -errno() : 0;
}

/** `fsync(2)`: of a folder, the names in it. @returns 0 or a negative errno. */
export function syncFileAndStatus(fd: number): number {
  return libc().fsync(fd) < 0 ? -errno() : 0;
}

/** Drops what the page cache has of a file and calls clean. @returns 0 or a negative errno. */
export function dropPageCache(fd: number): number {
  const POSIX_FADV_DONTNEED = 4;
  return -namesLibc().posix_fadvise(fd, 0n, 0n, POSIX_FADV_DONTNEED);
}

/**
 * Writes all of a buffer.
 *
 * @throws {UblkError} `SYSCALL_FAILED`.
 */
export function writeAllAt(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): void {
  for (let done = 0; done < buffer.length;) {
    const rest = done === 0 ? buffer : buffer.subarray(done);
    const count = libc().pwrite(fd, rest, BigInt(rest.length), BigInt(offset + done));
    if (count < 0) {
      const number = errno();
      if (number === EINTR) continue;
      throw syscallError("pwrite", undefined, number);
    }
    if (count === 0) throw syscallError("pwrite", undefined, EIO);
    done += count;
  }
}

/** Removes a file from its folder. */
export function removeFile(path: string): void {
  if (libc().unlink(cString(path)) < 0) throw syscallError(`unlink ${path}`);
}

/** `rename(2)`: what the second path named is gone. */
export function renameFile(from: string, to: string): void {
  if (namesLibc().rename(cString(from), cString(to)) < 0) throw syscallError(`rename ${from}`);
}

/** `mkdir(2)`. */
export function makeFolder(path: string, mode: number): void {
  if (namesLibc().mkdir(cString(path), mode) < 0) throw syscallError(`mkdir ${path}`);
}

/** The first 4 KiB of a text such as sysfs has, or undefined where there is none. */
export function smallText(path: string): string | undefined {
  const O_CLOEXEC = 0o2000000;
  const fd = libc().open(cString(path), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return undefined;
  try {
    const bytes = new Uint8Array(4096);
    const count = readAt(fd, bytes, 0);
    return count < 0 ? undefined : new TextDecoder().decode(bytes.subarray(0, count));
  } finally {
    closeFd(fd);
  }
}
