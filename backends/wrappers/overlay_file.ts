/**
 * The file of a copy-on-write overlay: blocks that differ from the base, and which they are.
 *
 * ```
 * header (4 KiB) | committed bitmap | current bitmap | blocks, each at its place, the rest holes
 * ```
 *
 * Two bitmaps, because two things can end a server. *Killed*, it leaves what it wrote in the page
 * cache: the current bitmap, written after each new block, is then true. *Without power*, the disk
 * has what was flushed and any part of what was not, in any order: a bit may be there whose block is
 * not, and the block would read as a hole instead of what the base has. So each flush first makes
 * the blocks durable and then the bits, in the committed bitmap; and whether the current one can be
 * trusted is told by the header, which names the boot in which it was written. Once an `fdatasync`
 * has failed it names none: what the page cache has lost then is not known.
 *
 * Until all of a new file is there its header says that it is unfinished: whatever ended its making,
 * the next server begins it anew.
 *
 * @module
 */

import { EINTR, EIO, EOPNOTSUPP } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import {
  endOfFile,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  fallocateFile,
  fileStatus,
  readAt,
  removeFile,
  syncFile,
  writeAllAt,
} from "../../uring/file.ts";
import { closeFd } from "../../uring/libc.ts";
import { openBackingFile } from "../backing_file.ts";
import { formatSize } from "../../disk/size.ts";
import {
  bootId,
  check,
  type Header,
  HEADER_BYTES,
  layoutOf,
  NO_BOOT,
  PAGE_BYTES,
  readHeader,
  writeHeader,
} from "./overlay_header.ts";
import { checkSpace, makeOverlay } from "./overlay_making.ts";
import { refused } from "../../disk/wrapper.ts";

/** Unless the options say otherwise, in bytes. */
export const DEFAULT_OVERLAY_BLOCK: number = 64 << 10;

/** An open overlay. */
export class OverlayFile {
  /** Bytes of a block. */
  readonly blockBytes: number;
  /** -1 once it is closed, with which the kernel refuses everything (EBADF). */
  #fd: number;
  readonly #bits: Uint8Array<ArrayBuffer>;
  /** Pages of the bitmap that are not committed. */
  readonly #pages: Uint8Array;
  readonly #header: Header;
  readonly #dataAt: number;
  /**
   * The bytes of the current bitmap that the file is not known to have. A write of them that failed
   * was once never made up for: later writes found their bits set, and what those had answered and
   * flushed was lost with the server.
   */
  #unwrittenFrom: number;
  #unwrittenEnd = 0;
  #newer = false;
  /** Once it has failed to write pages the kernel calls them clean: no later flush is true. */
  #broken = false;

  private constructor(fd: number, header: Header) {
    const { size, block } = header;
    this.#fd = fd;
    this.#header = header;
    this.blockBytes = block;
    const { bitmapBytes, dataAt } = layoutOf(size, block);
    this.#bits = new Uint8Array(bitmapBytes);
    this.#pages = new Uint8Array(bitmapBytes / PAGE_BYTES);
    this.#unwrittenFrom = bitmapBytes;
    this.#dataAt = dataAt;
  }

  /**
   * Opens the overlay of a disk of `size` bytes, or makes it where there is none.
   *
   * @param block Bytes of a block; where left out, those of the overlay that is there.
   * @param recovering The disk goes on, so that its overlay must be there.
   * @throws {UblkError} `INVALID_ARGUMENT` where the file is something else, or of another disk.
   */
  static async open(
    path: string,
    size: number,
    block?: number,
    recovering = false,
  ): Promise<OverlayFile> {
    const found = fileStatus(path);
    if (found !== undefined && found.kind !== "file") {
      throw refused("cow", `${path} is a ${found.kind}`, "give a file");
    }
    if (found === undefined && recovering) throw missing(path, "not there");
    const { fd, isNew } = await openBackingFile(path, {
      readOnly: false,
      direct: false,
      blockSize: 1,
      createBytes: 0,
    });
    try {
      // Now that nobody else has it: another server may have made it meanwhile.
      const state = endOfFile(fd) === 0 ? "empty" : readHeader(fd);
      if (state === undefined) {
        throw refused("cow", `${path} is no overlay`, "give another file, or none: it is made");
      }
      if (typeof state === "object") return OverlayFile.#resume(fd, path, state, size, block);
      if (recovering) throw missing(path, state);
      const header = makeOverlay(fd, path, size, block ?? DEFAULT_OVERLAY_BLOCK);
      return new OverlayFile(fd, header);
    } catch (error) {
      if (isNew) removeFile(path);
      closeFd(fd);
      throw error;
    }
  }

  static #resume(
    fd: number,
    path: string,
    header: Header,
    size: number,
    block?: number,
  ): OverlayFile {
    if (header.size !== size) {
      const reason = `${path} is over a disk of ${header.size} bytes (${formatSize(header.size)})`;
      throw refused("cow", `${reason}, not of ${size}`, "give the base that it was made for");
    }
    if (block !== undefined && block !== header.block) {
      const reason = `${path} has blocks of ${header.block} bytes, not ${block}`;
      throw refused("cow", reason, "leave block out: an overlay keeps its own");
    }
    checkSpace(fd, path, header);
    const overlay = new OverlayFile(fd, header);
    const boot = bootId();
    const sameBoot = header.boot === boot;
    readWhole(fd, overlay.#bits, HEADER_BYTES);
    if (sameBoot) {
      // What is committed counts too, should the current bitmap not have been writable at the end.
      const current = new Uint8Array(overlay.#bits.length);
      readWhole(fd, current, overlay.#currentAt);
      for (let byte = 0; byte < current.length; byte++) overlay.#bits[byte] |= current[byte];
    } else {
      // In this order: a header of this boot says that the current bitmap is true.
      writeAllAt(fd, overlay.#bits, overlay.#currentAt);
      writeHeader(fd, { ...header, boot });
    }
    if (sameBoot || header.boot === NO_BOOT) {
      // Which of them are committed on the disk is not known: the next flush commits them all. Where
      // a commit has failed, the page cache shows bits that the disk does not have.
      overlay.#pages.fill(1);
      overlay.#newer = true;
    }
    return overlay;
  }

  get #currentAt(): number {
    return HEADER_BYTES + this.#bits.length;
  }

  /** Whether a block is here, and not in the base. */
  has(block: number): boolean {
    return (this.#bits[Math.floor(block / 8)] & 1 << block % 8) !== 0;
  }

  /** The first block after `block`, up to `end`, that is not where `block` is. */
  endOfRun(block: number, end: number): number {
    const here = this.has(block);
    let next = block + 1;
    while (next < end && this.has(next) === here) next++;
    return next;
  }

  /** Notes that blocks are here. They have been written. */
  mark(first: number, end: number): void {
    for (let block = first; block < end; block++) {
      if (this.has(block)) continue;
      const byte = Math.floor(block / 8);
      this.#bits[byte] |= 1 << block % 8;
      this.#pages[Math.floor(byte / PAGE_BYTES)] = 1;
      this.#newer = true;
      if (byte < this.#unwrittenFrom) this.#unwrittenFrom = byte;
      if (byte >= this.#unwrittenEnd) this.#unwrittenEnd = byte + 1;
    }
    if (this.#unwrittenEnd === 0) return;
    const from = this.#unwrittenFrom;
    writeAllAt(this.#fd, this.#bits.subarray(from, this.#unwrittenEnd), this.#currentAt + from);
    this.#unwrittenFrom = this.#bits.length;
    this.#unwrittenEnd = 0;
  }

  /** Reads what is here, at an offset of the disk. */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    readWhole(this.#fd, buffer, this.#dataAt + offset);
  }

  /** Writes at an offset of the disk. */
  write(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    writeAllAt(this.#fd, buffer, this.#dataAt + offset);
  }

  /** Makes a range here read as zeroes, in a hole where the filesystem can. */
  zero(offset: number, length: number): void {
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const result = fallocateFile(this.#fd, mode, this.#dataAt + offset, length);
    if (result !== -EOPNOTSUPP) return check("fallocate", result);
    const zeroes = new Uint8Array(Math.min(length, this.blockBytes));
    for (let done = 0; done < length; done += zeroes.length) {
      this.write(zeroes.subarray(0, Math.min(zeroes.length, length - done)), offset + done);
    }
  }

  /** Makes all that was written durable: blocks first, and then that they are here. */
  flush(): void {
    if (this.#broken) {
      const reason = "an earlier flush has failed, and what it lost is not known";
      throw new UblkError("SYSCALL_FAILED", { operation: "cow", reason, errno: EIO });
    }
    this.#sync();
    if (this.#newer) this.#commit();
  }

  #sync(): void {
    const result = syncFile(this.#fd);
    if (result < 0) this.#break();
    check("fdatasync", result);
  }

  /**
   * The next server of this boot is not to trust the current bitmap either. It did: a flush of its
   * own went well, since the kernel tells of a failure once, and committed blocks that were lost.
   */
  #break(): void {
    this.#broken = true;
    try {
      writeHeader(this.#fd, { ...this.#header, boot: NO_BOOT });
      syncFile(this.#fd);
    } catch {
      // The flush fails in any case, and says why.
    }
  }

  /** Commits all it can: a page that finds no room keeps no other from it. */
  #commit(): void {
    const written: number[] = [];
    let failure: unknown;
    for (let page = 0; page < this.#pages.length; page++) {
      if (this.#pages[page] === 0) continue;
      const at = page * PAGE_BYTES;
      try {
        writeAllAt(this.#fd, this.#bits.subarray(at, at + PAGE_BYTES), HEADER_BYTES + at);
        written.push(page);
      } catch (error) {
        // Nothing is lost: the next flush tries again.
        failure ??= error;
      }
    }
    this.#sync();
    for (const page of written) this.#pages[page] = 0;
    if (failure !== undefined) throw failure;
    this.#newer = false;
  }

  /**
   * Flushes, since after an orderly end of this machine too the next boot trusts only what is
   * committed; and lets go of the file, and of its lock.
   */
  close(): void {
    try {
      this.flush();
    } finally {
      closeFd(this.#fd);
      // A write may still wait for the base, and the number may soon be another file's.
      this.#fd = -1;
    }
  }

  /** Bytes of a block: the disk's last one may be shorter. */
  bytesOf(block: number): number {
    return Math.min(this.blockBytes, this.#header.size - block * this.blockBytes);
  }
}

function missing(path: string, state: "not there" | "empty" | "unfinished"): UblkError {
  const reason = `${path}, which has what was written, is ${state}`;
  return refused("cow", reason, "check that its filesystem is mounted, and the path");
}

function readWhole(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): void {
  for (let done = 0; done < buffer.length;) {
    const rest = done === 0 ? buffer : buffer.subarray(done);
    const count = readAt(fd, rest, offset + done);
    if (count === -EINTR) continue;
    // 0: somebody has made the file shorter.
    if (count <= 0) check("pread", count === 0 ? -EIO : count);
    done += count;
  }
}
