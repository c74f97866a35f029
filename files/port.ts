/**
 * The port for files, for code that must find its data again after a crash. It has two
 * implementations: the kernel's files (`real.ts`), and files in memory on a simulated machine whose
 * power can fail at any operation (`crashable.ts`). Code that uses this port can be tested with
 * thousands of seeds in seconds.
 *
 * ```
 *  cow, cache's tests, the volume engine ──▶ Files, File ──┬── RealFiles         libc
 *                    (whole.ts: all of it or an error)     └── CrashableProcess  a CrashableMachine
 * ```
 *
 * A backend's module receives the files in the context of its `open` ({@linkcode FilesContext}).
 * Without that it uses the kernel's. There is no global state.
 *
 * **Synchronous.** Each method is one system call, so a backend that blocks its thread allocates
 * and awaits nothing. A method that fails throws a `UblkError` with the errno.
 *
 * **Asynchronous** files, through the serving thread's ring, are to have the same methods with a
 * Promise around each result. In memory they need no model of their own. An operation is held back
 * when it is requested. Later, when a seed releases it, the synchronous method of {@linkcode File}
 * performs it. Operations are released in any order, and a crash forgets those still held. io_uring
 * behaves the same way: its operations have no order either.
 *
 * @module
 */

import type { FileStatus } from "../uring/file.ts";

/** Options for opening a file. */
export interface OpenOptions {
  /**
   * Open for reading and writing.
   *
   * @default false
   */
  readonly write?: boolean;
  /**
   * Create the file if it is missing, or create a new one, which must not exist.
   *
   * @default The file must exist
   */
  readonly create?: "if-missing" | "new";
  /**
   * Permission bits of a created file.
   *
   * @default 0o644
   */
  readonly mode?: number;
  /**
   * Discard the contents.
   *
   * @default false
   */
  readonly truncate?: boolean;
  /**
   * Bypass the page cache (`O_DIRECT`). Memory, offsets and lengths must be aligned.
   *
   * @default false
   */
  readonly direct?: boolean;
}

/** A change of a file range's allocation. */
export type Allocation =
  /** Allocate space, so that writes do not fail on a full filesystem. Keeps the length. */
  | "reserve"
  /** Allocate space, and extend the file to the end of the range. */
  | "extend"
  /** Free the space. The range reads as zeroes. */
  | "punch"
  /** Zero the range and keep the space. */
  | "zero";

/** The status of a path. */
export type PathStatus = Pick<
  FileStatus,
  "kind" | "bytes" | "allocatedBytes" | "identity" | "links" | "directAlignment"
>;

/** An open file. After {@linkcode File.close} every method fails with EBADF. */
export interface File extends Disposable {
  /** The path as given to `open`. */
  readonly path: string;
  /**
   * Reads into a buffer. May read fewer bytes than exist, or throw EINTR; `whole.ts` handles both.
   *
   * @returns The number of bytes; 0 at the end of the file.
   */
  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number;
  /**
   * Writes a buffer. May write only a part, or throw EINTR; `whole.ts` handles both.
   *
   * @returns The number of bytes.
   */
  writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number;
  /**
   * Writes over bytes that the file has, as `writeAt` does, and returns once they are durable
   * (`RWF_DSYNC`). Other bytes of the file that were written earlier may still be lost.
   *
   * @returns The number of bytes.
   */
  writeDurably(buffer: Uint8Array<ArrayBuffer>, offset: number): number;
  /**
   * Makes the written data and the length durable, and without `dataOnly` also the times. The
   * file's name belongs to the folder: see {@linkcode Files.syncFolder}.
   *
   * After a failure, the data that it should have written is lost. It can be read until the page
   * cache drops it, but is never written, and yet the next call succeeds.
   */
  sync(dataOnly: boolean): void;
  /** The length in bytes. */
  size(): number;
  /** Sets the length in bytes. A new part is a hole. */
  truncate(bytes: number): void;
  /** Changes the allocation of a range. @returns Whether the filesystem supports that. */
  allocate(how: Allocation, offset: number, length: number): boolean;
  /**
   * Locks the file, until it is closed or the process ends.
   *
   * @returns Whether the lock was free.
   */
  lock(how: "exclusive" | "shared"): boolean;
  /**
   * Drops clean pages from the cache, so that data lost in a failed {@linkcode sync} can no longer
   * be read. Only a hint: the kernel keeps pages that somebody has mapped.
   */
  dropCache(): void;
  /** Closes the file. */
  close(): void;
}

/** The files of a machine, for one process. The parts of a path are separated by `/`. */
export interface Files {
  /** Opens a file. */
  open(path: string, options?: OpenOptions): File;
  /** The status of the file at a path; undefined if nothing is there. */
  status(path: string): PathStatus | undefined;
  /** Renames a file, and replaces one at the new path. Durable once both folders are synced. */
  rename(from: string, to: string): void;
  /**
   * Gives a file a further name, which must be unused (EEXIST): of several processes that try, one
   * succeeds. Durable once the folder of the new name is synced.
   */
  link(from: string, to: string): void;
  /** Removes a name of a file. Open files stay usable. */
  remove(path: string): void;
  /** Creates a folder. */
  makeFolder(path: string): void;
  /** The names in a folder, sorted. */
  list(path: string): string[];
  /**
   * Makes the names in a folder durable: both added and removed ones. Does nothing if the
   * filesystem cannot sync folders.
   */
  syncFolder(path: string): void;
  /**
   * Whether {@linkcode File.writeDurably} to a file costs about as much as `writeAt`: the disk need
   * not flush its cache for it. False if that is not known.
   */
  hasCheapDurability(path: string): boolean;
  /**
   * A text that is different after each boot of the machine. A boot empties the page cache.
   * Undefined if the boot cannot be determined.
   */
  boot(): string | undefined;
}

/** An optional part of the context of a backend module's `open`. */
export interface FilesContext {
  /**
   * The files to use.
   *
   * @default The kernel's files
   */
  readonly files?: Files;
}

/** The folder of a path. */
export function folderOf(path: string): string {
  return path.replace(/[^/]+$/, ".");
}
