/**
 * The file that members are inflated to. It has no name, and is gone with its server whatever happens
 * to that.
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
import { refusal } from "../file_checks.ts";

/** A place in it begins at a multiple of this, so that it is whole blocks of a filesystem. */
const ALIGNMENT = 4096;

/** The file. It takes the space of what was written to it. */
export class CacheFile {
  /** Its descriptor, which is good in every thread. */
  readonly fd: number;
  readonly #folder: string;
  #end = 0;

  private constructor(fd: number, folder: string) {
    this.fd = fd;
    this.#folder = folder;
  }

  /**
   * Makes it in a folder.
   *
   * @throws {UblkError} `INVALID_ARGUMENT` where that has no place for it.
   */
  static make(folder: string): CacheFile {
    const path = `${folder}/.ublk-zip-${crypto.randomUUID()}`;
    try {
      const fd = openFile(path, O_RDWR | O_CREAT | O_EXCL, 0o600);
      removeFile(path);
      return new CacheFile(fd, folder);
    } catch (error) {
      if (!(error instanceof UblkError)) throw error;
      const reason = `no file can be made there: ${error.reason}`;
      throw refusal(folder, reason, "give another folder for what is inflated: cache", error.errno);
    }
  }

  /** A place for so many bytes; what was not written there yet reads as zeroes. */
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
        const hint = "make room there, or give another folder: cache";
        throw refusal(this.#folder, "it has no space for what is inflated", hint, ENOSPC);
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
   * Gives back the space of a place, which stays a place. Without that a member for which there was
   * not enough space would keep all that there was.
   */
  free(start: number, bytes: number): void {
    const whole = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    // A filesystem without holes keeps the space until the server ends.
    punchFile(this.fd, start, whole);
  }

  /** Gives its space back. */
  close(): void {
    closeFd(this.fd);
  }
}
