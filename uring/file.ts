/**
 * Files through libc. Deno's own API lacks locks, holes and `O_DIRECT`, and allows access to `/dev`
 * and `/sys` only with all permissions granted.
 *
 * @module
 */

import { EAGAIN, EINTR, EIO, ENOENT, ENOTDIR } from "../uapi/errno.ts";
import { closeFd, cString, errno, libc, syscallError } from "./libc.ts";

/** Open for reading only. */
export const O_RDONLY = 0;
/** Open for writing only. */
export const O_WRONLY = 1;
/** Open for reading and writing. */
export const O_RDWR = 2;
/** Create the file if it is missing. */
export const O_CREAT = 0o100;
/** With `O_CREAT`: the file must not exist. For a block device: nobody else may hold it. */
export const O_EXCL = 0o200;
/** Discard the contents. */
export const O_TRUNC = 0o1000;
/** Append: each write goes to the end of the file, atomically. */
export const O_APPEND = 0o2000;
/** Bypass the page cache. One of the few flags with a different value on ARM. */
export const O_DIRECT: number = Deno.build.arch === "aarch64" ? 0o200000 : 0o40000;

/** `fallocate(2)`: keep the file's length. */
export const FALLOC_FL_KEEP_SIZE = 1;
/** `fallocate(2)`: free the space; the range reads as zeroes. */
export const FALLOC_FL_PUNCH_HOLE = 2;
/** `fallocate(2)`: zero the range and keep the space. */
export const FALLOC_FL_ZERO_RANGE = 16;

/** The type of a file. */
export type FileKind =
  | "file"
  | "directory"
  | "block device"
  | "character device"
  | "pipe"
  | "socket"
  | "thing of no known kind";

/** The status of a file. */
export interface FileStatus {
  /** The type. */
  readonly kind: FileKind;
  /** The length in bytes; 0 for a device. */
  readonly bytes: number;
  /** Bytes allocated on the filesystem: fewer than the length if the file has holes. */
  readonly allocatedBytes: number;
  /** The same text for every path to the same file. */
  readonly identity: string;
  /** Number of names that the file has. */
  readonly links: number;
  /** `major:minor` of the device, if the file is one. */
  readonly device: string;
  /** `major:minor` of the filesystem's device; of no real device if the filesystem has none. */
  readonly filesystem: string;
  /** Preferred I/O size of the filesystem in bytes: usually its block size. */
  readonly blockBytes: number;
  /**
   * Alignments in bytes that `O_DIRECT` requires of memory and offsets. Undefined if the kernel
   * (before 6.1) or the filesystem does not report them.
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
 * Reads the status of the file at a path without opening it. Undefined if nothing is there.
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
    // ENOENT: the file does not exist; ENOTDIR: neither does its folder.
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
    // A device is identified by its number, whatever the node.
    identity: kind === "block device"
      ? `block ${u32(128)}:${u32(132)}`
      : `${u32(136)}:${u32(140)}:${u64(32)}`,
    links: u32(16),
    device: `${u32(128)}:${u32(132)}`,
    filesystem: `${u32(136)}:${u32(140)}`,
    blockBytes: u32(4),
    // Both alignments are 0 if the file does not support direct I/O.
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
 * The first hole at or after `offset`, up to the next data. Undefined if there is no hole before
 * `end`. A filesystem without support for holes has none.
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
  // ENXIO: the file ends before `offset`. EINVAL: a device, which has no holes.
  if (start < 0 || start >= end) return undefined;
  const data = Number(libc().lseek(fd, BigInt(start), SEEK_DATA));
  // ENXIO: the hole extends to the end.
  return { start, end: data < 0 ? end : Math.min(data, end) };
}

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

/**
 * Locks an open file. The lock lasts until every copy of the descriptor is closed, or until
 * {@linkcode closeLocked}.
 *
 * @returns Whether the lock was free.
 */
export function lockFile(fd: number, how: "exclusive" | "shared"): boolean {
  if (libc().flock(fd, LOCK_NB | (how === "shared" ? LOCK_SH : LOCK_EX)) === 0) return true;
  const number = errno();
  if (number === EAGAIN || number === EINTR) return false;
  throw syscallError("flock", undefined, number);
}

/**
 * Unlocks a file and closes it. Closing alone leaves the lock to whoever has a copy of the descriptor:
 * a child that another thread is starting has one until it executes its program, so a file that had
 * just been closed was found in use.
 */
export function closeLocked(fd: number): void {
  libc().flock(fd, LOCK_UN);
  closeFd(fd);
}

/** Sets a file's length in bytes. A new part is a hole. */
export function truncateFile(fd: number, bytes: number): void {
  if (libc().ftruncate(fd, BigInt(bytes)) < 0) throw syscallError("ftruncate");
}

/** Maximum number of attempts at a call that signals interrupt. */
const TRIES = 100;

/** `fallocate(2)`, retried if a signal interrupts it. @returns 0 or a negative errno. */
export function fallocateFile(fd: number, mode: number, offset: number, bytes: number): number {
  for (let tries = 1;; tries++) {
    if (libc().fallocate(fd, mode, BigInt(offset), BigInt(bytes)) >= 0) return 0;
    const number = errno();
    if (number !== EINTR || tries === TRIES) return -number;
  }
}

/**
 * Punches a hole: frees the space of a range, which then reads as zeroes. The file keeps its
 * length; the kernel punches no holes otherwise. @returns 0 or a negative errno.
 */
export function punchFile(fd: number, offset: number, bytes: number): number {
  return fallocateFile(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
}

/** Whether a value can be the path of a file. */
export function isPath(value: unknown): value is string {
  return typeof value === "string" && value !== "" && !value.includes("\0");
}

/** `pread(2)`. @returns The number of bytes, 0 at the end of the file, or a negative errno. */
export function readAt(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  const count = libc().pread(fd, buffer, BigInt(buffer.length), BigInt(offset));
  return count < 0 ? -errno() : count;
}

/** `pwrite(2)`. @returns The number of bytes, or a negative errno. */
export function writeAt(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  const count = libc().pwrite(fd, buffer, BigInt(buffer.length), BigInt(offset));
  return count < 0 ? -errno() : count;
}

/** `fdatasync(2)`. @returns 0 or a negative errno. */
export function syncFile(fd: number): number {
  return libc().fdatasync(fd) < 0 ? -errno() : 0;
}

/** `fsync(2)`. For a folder it syncs the names. @returns 0 or a negative errno. */
export function syncFileAndStatus(fd: number): number {
  return libc().fsync(fd) < 0 ? -errno() : 0;
}

/** Drops a file's clean pages from the page cache. @returns 0 or a negative errno. */
export function dropPageCache(fd: number): number {
  const POSIX_FADV_DONTNEED = 4;
  return -libc().posix_fadvise(fd, 0n, 0n, POSIX_FADV_DONTNEED);
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

/** `rename(2)`. A file at the second path is replaced. */
export function renameFile(from: string, to: string): void {
  if (libc().rename(cString(from), cString(to)) < 0) throw syscallError(`rename ${from}`);
}

/** `link(2)`. Unlike `rename(2)` it fails if something is at the second path. */
export function linkFile(from: string, to: string): void {
  if (libc().link(cString(from), cString(to)) < 0) throw syscallError(`link ${from} to ${to}`);
}

/** `mkdir(2)`. */
export function makeFolder(path: string, mode: number): void {
  if (libc().mkdir(cString(path), mode) < 0) throw syscallError(`mkdir ${path}`);
}

/** Reads the first 4 KiB of a small text file, as in sysfs. Undefined if it does not exist. */
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
