/**
 * Lets others of the drain's thread go on while a store in a folder is at work: whoever asks for a
 * snapshot waited for the chunk that was being put, or for a whole collection of garbage, and chunks
 * that are put at a time for one another.
 *
 * @module
 */

import { fileError } from "../../files/file_error.ts";
import type { File } from "../../files/port.ts";
import type { RealFile } from "../../files/real.ts";
import type { BesideOthers } from "../../store/directory.ts";
import { isUblkError, type UblkErrorCode } from "../../uapi/error.ts";
import { turnOfEventLoop } from "../../uring/libc.ts";
import { ringFiles } from "../../uring/ring_files.ts";

/** The errors of a ring that cannot be opened. */
const NO_RING: ReadonlySet<UblkErrorCode> = new Set([
  "IO_URING_FORBIDDEN",
  "KERNEL_TOO_OLD",
  "MEMORY_LIMIT",
]);

/** Makes files durable through a ring, or, where none can be had, as `File.sync` does. */
export class BesideDrain implements BesideOthers, AsyncDisposable {
  readonly #ring = ringFiles();

  /** Makes a file of the kernel's durable, as its `sync(false)` does. */
  readonly sync = async (file: File): Promise<void> => {
    try {
      await this.#ring.fsync((file as RealFile).fd);
    } catch (error) {
      if (!isUblkError(error)) throw error;
      if (error.code === "SYSCALL_FAILED") throw fileError("fsync", error.errno!);
      // Nothing was tried. After any other error something may have been, and have failed.
      if (!NO_RING.has(error.code)) throw error;
      file.sync(false);
    }
  };

  /** Gives the event loop a turn. */
  readonly turn: () => Promise<void> = turnOfEventLoop;

  /** Closes the ring. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ring[Symbol.asyncDispose]();
  }
}
