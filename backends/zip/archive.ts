/**
 * An open archive: its file, its members, and the positions of their contents.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { fileStatus, readAt } from "../../uring/file.ts";
import { closeFd } from "../../uring/libc.ts";
import { openBackingFile } from "../backing_file.ts";
import { refusal } from "../../disk/file_checks.ts";
import { Damage } from "./damage.ts";
import { readDirectory } from "./directory.ts";
import type { Members } from "./members.ts";

const LOCAL_HEADER_BYTES = 30;
const LOCAL_HEADER_SIGNATURE = 0x04034b50;

/** An open archive. */
export class Archive {
  /** The path, as the caller gave it. */
  readonly path: string;
  /** The file descriptor, valid in every thread. */
  readonly fd: number;
  /** The archive's members. */
  readonly members: Members;
  readonly #size: number;
  /** The sorted positions of all local headers: no member may reach into the next. */
  #headers: Float64Array<ArrayBuffer> | undefined;

  private constructor(path: string, fd: number, size: number, members: Members) {
    this.path = path;
    this.fd = fd;
    this.#size = size;
    this.members = members;
  }

  /**
   * Opens an archive, shared with other readers, and reads its directory.
   *
   * @throws {UblkError} `INVALID_ARGUMENT`, in one line: no such file, not an archive, …
   */
  static async open(path: string, encoding?: string): Promise<Archive> {
    const status = fileStatus(path);
    // Otherwise an empty file would be refused as too short for a disk.
    if (status?.kind === "file" && status.bytes === 0) {
      throw refusal(path, "it is empty, not a zip archive", "give a zip archive");
    }
    const options = { readOnly: true, direct: false, blockSize: 1 };
    const { fd, bytes } = await openBackingFile(path, options);
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
   * The position of a member's contents. The local header is used for nothing else: if its flags, sizes
   * or checksum contradict the directory (two common writers produce such headers), the directory is
   * right, and the checksum proves it.
   *
   * @throws {Damage} if there is no header, or the contents reach into another member.
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
      throw new Damage("its local file header is missing");
    }
    const start = at + LOCAL_HEADER_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
    const end = start + this.members.storedBytes[member];
    if (end > this.#size) throw new Damage("it extends past the end of the archive");
    // Two names may share one header. But zip bombs are made of overlapping members.
    if (this.#nextHeader(at) < end) throw new Damage("another member overlaps it");
    return start;
  }

  /** The position of the first local header after the given one. */
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
   * Fills the buffer with bytes of the archive, starting at `offset`.
   *
   * @throws {Damage} if the archive has been truncated.
   */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    if (readFully(this.fd, buffer, offset) < buffer.length) {
      throw new Damage("the archive has been truncated");
    }
  }

  /** Closes the file. */
  close(): void {
    closeFd(this.fd);
  }
}

/** Reads until the buffer is full or the file ends. Returns the number of bytes read. */
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
