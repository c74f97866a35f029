/**
 * An open archive: its file, its members, and where their contents are in it.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { fileStatus, readAt } from "../../uring/file.ts";
import { closeFd } from "../../uring/libc.ts";
import { openBackingFile } from "../backing_file.ts";
import { refusal } from "../file_checks.ts";
import { Damage } from "./damage.ts";
import { readDirectory } from "./directory.ts";
import type { Members } from "./members.ts";

const LOCAL_HEADER_BYTES = 30;
const LOCAL_HEADER_SIGNATURE = 0x04034b50;

/** An open archive. */
export class Archive {
  /** As it was given. */
  readonly path: string;
  /** Its descriptor, which is good in every thread. */
  readonly fd: number;
  /** Its members. */
  readonly members: Members;
  readonly #size: number;
  /** The places of all local headers, in order: no member reaches into the next. */
  #headers: Float64Array<ArrayBuffer> | undefined;

  private constructor(path: string, fd: number, size: number, members: Members) {
    this.path = path;
    this.fd = fd;
    this.#size = size;
    this.members = members;
  }

  /**
   * Opens an archive, which others may read too, and reads its directory.
   *
   * @throws {UblkError} `INVALID_ARGUMENT`, in one line: there is no such file, it is no archive, …
   */
  static async open(path: string, encoding?: string): Promise<Archive> {
    const status = fileStatus(path);
    // An empty file would be found to be too short for a disk.
    if (status?.kind === "file" && status.bytes === 0) {
      throw refusal(path, "it is empty, and no zip archive", "give a zip archive");
    }
    const wish = { readOnly: true, direct: false, blockSize: 1 };
    const { fd, bytes } = await openBackingFile(path, wish);
    try {
      const read = (buffer: Uint8Array<ArrayBuffer>, offset: number) =>
        buffer.subarray(0, readFully(fd, buffer, offset));
      return new Archive(path, fd, bytes, await readDirectory(path, bytes, read, encoding));
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /**
   * The byte at which a member's contents begin. The header beside them tells that and nothing else:
   * where it says otherwise than the directory (two common writers do, in its flags, its sizes
   * or its checksum), the directory is right, and the checksum proves it.
   *
   * @throws {Damage} where there is no header, or the contents reach into another member.
   */
  locate(member: number): number {
    const at = this.members.headerAt[member];
    const header = new Uint8Array(LOCAL_HEADER_BYTES);
    const view = new DataView(header.buffer);
    if (
      !(at + LOCAL_HEADER_BYTES <= this.#size) ||
      readFully(this.fd, header, at) < LOCAL_HEADER_BYTES ||
      view.getUint32(0, true) !== LOCAL_HEADER_SIGNATURE
    ) {
      throw new Damage("its local file header is not there");
    }
    const start = at + LOCAL_HEADER_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
    const end = start + this.members.storedBytes[member];
    if (end > this.#size) throw new Damage("it goes on beyond the end of the archive");
    // One header for two names is no harm; members in each other are how zip bombs are made.
    if (this.#nextHeader(at) < end) throw new Damage("another member is within it");
    return start;
  }

  /** The place of the first local header behind another. */
  #nextHeader(at: number): number {
    this.#headers ??= this.members.headerAt.slice().sort();
    let [low, high] = [0, this.#headers.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#headers[middle] <= at) low = middle + 1;
      else high = middle;
    }
    return this.#headers[low] ?? Infinity;
  }

  /**
   * Fills the buffer from a byte of the archive on.
   *
   * @throws {Damage} where it is cut.
   */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    if (readFully(this.fd, buffer, offset) < buffer.length) {
      throw new Damage("the archive has become shorter");
    }
  }

  /** Lets go of the file. */
  close(): void {
    closeFd(this.fd);
  }
}

/** Bytes read, fewer only at the end of the file. */
function readFully(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  let done = 0;
  while (done < buffer.length) {
    const rest = done === 0 ? buffer : buffer.subarray(done);
    const count = readAt(fd, rest, offset + done);
    if (count < 0) throw new UblkError("SYSCALL_FAILED", { operation: "pread", errno: -count });
    if (count === 0) break;
    done += count;
  }
  return done;
}
