/**
 * Files, as whoever must find his data again after a crash uses them. There are two of a kind: the
 * kernel's (`real.ts`), and some in memory whose machine can lose its power at any operation
 * (`crashable.ts`). What is written against this port is tested by seeds, thousands in seconds.
 *
 * ```
 *  cow, cache's tests, the volume engine ──▶ Files, File ──┬── RealFiles         libc
 *                    (whole.ts: all of it or an error)     └── CrashableProcess  a CrashableMachine
 * ```
 *
 * A backend's module gets them in the context of its `open` ({@linkcode FilesContext}); without that
 * they are the kernel's. Nothing is global.
 *
 * **Synchronous.** Each method is one system call: a backend that blocks its thread allocates and
 * awaits nothing. A method that fails throws a `UblkError` with the errno.
 *
 * **Asynchronous** files, through the serving thread's ring, are to have the same methods with a
 * Promise around each result. In memory they need no model of their own: an operation is held back
 * when it is asked for and done, by the synchronous method of {@linkcode File}, when a seed lets it
 * go, in any order; a crash forgets those that were held. That is what an io_uring does, whose
 * operations are in no order either.
 *
 * @module
 */

import type { FileStatus } from "../uring/file.ts";

/** How a file is to be opened. */
export interface OpenOptions {
  /** For reading and writing. Default: for reading only. */
  readonly write?: boolean;
  /** Made where it is missing, or made anew: it must not be there. Default: it must be there. */
  readonly create?: "if-missing" | "new";
  /** The permission bits of a file that is made. Default: 0o644. */
  readonly mode?: number;
  /** What it had is gone. */
  readonly truncate?: boolean;
  /** Past the page cache (`O_DIRECT`): memory, offsets and lengths must be aligned. */
  readonly direct?: boolean;
}

/** What is to become of a range of a file. */
export type Allocation =
  /** It has its space, so that writes there do not find the filesystem full; the length stays. */
  | "reserve"
  /** The same, and the file becomes as long as that. */
  | "extend"
  /** Its space is given back; it reads as zeroes. */
  | "punch"
  /** It reads as zeroes; the space stays. */
  | "zero";

/** What is known of a path. */
export type PathStatus = Pick<FileStatus, "kind" | "bytes" | "allocatedBytes">;

/** An open file. After {@linkcode File.close} everything fails with EBADF. */
export interface File extends Disposable {
  /** As it was opened. */
  readonly path: string;
  /**
   * Reads into a buffer. It may read fewer bytes than there are, or throw EINTR: `whole.ts` goes on.
   *
   * @returns Bytes; 0 at the end.
   */
  readAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number;
  /**
   * Writes a buffer. It may write a part, or throw EINTR: `whole.ts` goes on.
   *
   * @returns Bytes.
   */
  writeAt(buffer: Uint8Array<ArrayBuffer>, offset: number): number;
  /**
   * Makes what was written durable, with the length; with `dataOnly` not the times. The name is the
   * folder's: {@linkcode Files.syncFolder}.
   *
   * Once it has failed, what it should have written is lost: it is read from the page cache until
   * that drops it, is never written, and the next call succeeds all the same.
   */
  sync(dataOnly: boolean): void;
  /** Its length in bytes. */
  size(): number;
  /** Sets the length; what is new is a hole. */
  truncate(bytes: number): void;
  /** Changes the space of a range. @returns Whether its filesystem can do that. */
  allocate(how: Allocation, offset: number, length: number): boolean;
  /**
   * Takes the file's lock, which lasts until the file is closed or its process ends.
   *
   * @returns Whether nobody else had it.
   */
  lock(how: "exclusive" | "shared"): boolean;
  /**
   * Drops what is cached and clean: what a failed {@linkcode sync} has lost is not read any more. A
   * hint; the kernel keeps what somebody has mapped.
   */
  dropCache(): void;
  /** Closes it. */
  close(): void;
}

/** The files of a machine, for one process. Paths have `/` between their parts. */
export interface Files {
  /** Opens a file. */
  open(path: string, options?: OpenOptions): File;
  /** What a path names; undefined where there is nothing. */
  status(path: string): PathStatus | undefined;
  /** Gives a file another name; what had that name is gone. Durable once the folders are synced. */
  rename(from: string, to: string): void;
  /** Removes a file. Whoever has it open keeps it. */
  remove(path: string): void;
  /** Makes a folder. */
  makeFolder(path: string): void;
  /** The names in a folder, sorted. */
  list(path: string): string[];
  /**
   * Makes names durable: those that came into a folder, and those that left it. Where the
   * filesystem cannot sync folders it does nothing.
   */
  syncFolder(path: string): void;
  /**
   * A text that is another one after each boot of the machine, with which the page cache begins
   * anew; undefined where that cannot be told.
   */
  boot(): string | undefined;
}

/** What the `open` of a backend's module may be told beside all else. */
export interface FilesContext {
  /** The files that it is to use. Without them, the kernel's. */
  readonly files?: Files;
}

/** The folder that a path is in. */
export function folderOf(path: string): string {
  return path.replace(/[^/]+$/, ".");
}
