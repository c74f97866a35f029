/**
 * The file that members are inflated to. It has no name, so it disappears with its server however that
 * ends.
 *
 * @module
 */

import { EIO, ENOSPC } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  O_CREAT,
  O_EXCL,
  O_RDWR,
  punchFile,
  readAt,
  removeFile,
  truncateFile,
  writeAt,
} from "../../uring/file.ts";
import { closeFd, openFile } from "../../uring/libc.ts";
import { refusal } from "../../disk/file_checks.ts";

/** Alignment of each reserved range, in bytes, so that it covers whole filesystem blocks. */
const ALIGNMENT = 4096;

/** The cache file. It is sparse: only written ranges take space. */
export class CacheFile {
  /** The file descriptor, valid in every thread. */
  readonly fd: number;
  readonly #folder: string;
  #end = 0;

  private constructor(fd: number, folder: string) {
    this.fd = fd;
    this.#folder = folder;
  }

  /**
   * Creates the file in a folder.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` if it cannot be created there.
   */
  static make(folder: string): CacheFile {
    const path = `${folder}/.ublk-zip-${crypto.randomUUID()}`;
    try {
      const fd = openFile(path, O_RDWR | O_CREAT | O_EXCL, 0o600);
      removeFile(path);
      return new CacheFile(fd, folder);
    } catch (error) {
      if (!(error instanceof UblkError)) throw error;
      const reason = `no file can be created there: ${error.reason}`;
      throw refusal(
        folder,
        reason,
        "choose another folder for inflated files (cache)",
        error.errno,
      );
    }
  }

  /** Reserves a range of `bytes` and returns its start. Unwritten bytes read as zeroes. */
  reserve(bytes: number): number {
    const start = this.#end;
    this.#end = Math.ceil((start + bytes) / ALIGNMENT) * ALIGNMENT;
    truncateFile(this.fd, this.#end);
    return start;
  }

  /** Writes all of the bytes. */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number): void {
    for (let done = 0; done < bytes.length;) {
      const count = writeAt(this.fd, done === 0 ? bytes : bytes.subarray(done), offset + done);
      if (count === -ENOSPC) {
        const hint = "free some space, or choose another folder (cache)";
        throw refusal(this.#folder, "it has no space for inflated files", hint, ENOSPC);
      }
      if (count < 0) throw new UblkError("SYSCALL_FAILED", { operation: "pwrite", errno: -count });
      done += count;
    }
  }

  /** Fills the buffer. */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    for (let done = 0; done < buffer.length;) {
      const count = readAt(this.fd, done === 0 ? buffer : buffer.subarray(done), offset + done);
      if (count <= 0) {
        const errno = count === 0 ? EIO : -count;
        throw new UblkError("SYSCALL_FAILED", { operation: "pread", errno });
      }
      done += count;
    }
  }

  /**
   * Frees the disk space of a range, which stays reserved. Otherwise a member that did not fit would
   * keep all the space there was.
   */
  free(start: number, bytes: number): void {
    const whole = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    // On a filesystem without holes the space is freed when the server ends.
    punchFile(this.fd, start, whole);
  }

  /** Closes the file, which frees its space. */
  close(): void {
    closeFd(this.fd);
  }
}
