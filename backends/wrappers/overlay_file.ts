/**
 * The file of a copy-on-write overlay: the blocks that differ from the base, and bitmaps of them.
 *
 * ```
 * header (4 KiB) | committed bitmap | current bitmap | blocks, each at its place, the rest holes
 * ```
 *
 * There are two bitmaps, because a server can end in two ways. A *killed* server leaves its writes in
 * the page cache, so the current bitmap, written after each new block, is true. After a *loss of
 * power*, the disk has all flushed data and any part of the unflushed data, in any order. A bit may
 * be there without its block, and the block would read as a hole instead of the base's contents. So
 * each flush first makes the blocks durable, and then their bits in the committed bitmap.
 *
 * The header names the boot in which the current bitmap was written, and so tells whether the bitmap
 * can be trusted. After a failed `fdatasync` the header names no boot, because the page cache may have
 * lost unknown data. (If a server is killed between the failure and this note, the next server trusts
 * the bitmap, because nobody else learned of the failure.)
 *
 * The header of a new file says that it is unfinished until the whole file is made. If its making is
 * interrupted, the next server begins it anew.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { realFiles } from "../../files/real.ts";
import { readWhole, writeWhole, writeZeroes } from "../../files/whole.ts";
import { EIO } from "../../uapi/errno.ts";
import { UblkError } from "../../uapi/error.ts";
import { formatSize } from "../../disk/size.ts";
import { claimOverlay } from "./overlay_claim.ts";
import {
  bootOf,
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

/** The default size of a block in bytes. */
export const DEFAULT_OVERLAY_BLOCK: number = 64 << 10;

/** An open overlay. */
export class OverlayFile {
  /** Bytes of a block. */
  readonly blockBytes: number;
  readonly #file: File;
  readonly #bits: Uint8Array<ArrayBuffer>;
  /** Marks the pages of the bitmap that are not committed. */
  readonly #pages: Uint8Array;
  readonly #header: Header;
  readonly #dataAt: number;
  #newer = false;
  /** A flush failed. The kernel then calls the lost pages clean, so no later flush may succeed. */
  #broken = false;

  private constructor(file: File, header: Header) {
    const { size, block } = header;
    this.#file = file;
    this.#header = header;
    this.blockBytes = block;
    const { bitmapBytes, dataAt } = layoutOf(size, block);
    this.#bits = new Uint8Array(bitmapBytes);
    this.#pages = new Uint8Array(bitmapBytes / PAGE_BYTES);
    this.#dataAt = dataAt;
  }

  /**
   * Opens the overlay of a disk of `size` bytes, or makes it if there is none.
   *
   * @param block Bytes of a block. By default those of an existing overlay.
   * @param recovering The device is being recovered, so its overlay must exist.
   * @param files The filesystem of the overlay.
   * @throws {UblkError} `INVALID_ARGUMENT` if the file is not an overlay, or is that of another disk.
   */
  static async open(
    path: string,
    size: number,
    block?: number,
    recovering = false,
    files: Files = realFiles,
  ): Promise<OverlayFile> {
    const found = files.status(path);
    if (found !== undefined && found.kind !== "file") {
      throw refused("cow", `${path} is a ${found.kind}`, "give a file");
    }
    if (found === undefined && recovering) throw missing(path, "not there");
    const { file, isNew } = await claimOverlay(path, files, recovering);
    try {
      // Look at the file only while it is locked: another server may have made it meanwhile.
      const state = file.size() === 0 ? "empty" : readHeader(file);
      if (state === undefined) {
        throw refused("cow", `${path} is no overlay`, "give another file, or none: it is made");
      }
      if (typeof state === "object") return OverlayFile.#resume(files, file, state, size, block);
      if (recovering) throw missing(path, state);
      const header = makeOverlay(files, file, size, block ?? DEFAULT_OVERLAY_BLOCK);
      return new OverlayFile(file, header);
    } catch (error) {
      if (isNew) files.remove(path);
      file.close();
      throw error;
    }
  }

  static #resume(
    files: Files,
    file: File,
    header: Header,
    size: number,
    block?: number,
  ): OverlayFile {
    const { path } = file;
    if (header.size !== size) {
      const reason = `${path} is over a disk of ${header.size} bytes (${formatSize(header.size)})`;
      throw refused("cow", `${reason}, not of ${size}`, "give the base that it was made for");
    }
    if (block !== undefined && block !== header.block) {
      const reason = `${path} has blocks of ${header.block} bytes, not ${block}`;
      throw refused("cow", reason, "leave block out: an overlay keeps its own");
    }
    checkSpace(files, file, header);
    const overlay = new OverlayFile(file, header);
    const boot = bootOf(files);
    const sameBoot = header.boot === boot;
    // For blocks that were committed and then written again. The page cache once showed data that the
    // disk had lost, this server's flush found nothing to write, and a loss of power lost the data.
    if (header.boot === NO_BOOT) file.dropCache();
    readWhole(file, overlay.#bits, HEADER_BYTES);
    if (sameBoot) {
      // Earlier versions also committed blocks that they had failed to note in this bitmap.
      const current = new Uint8Array(overlay.#bits.length);
      readWhole(file, current, overlay.#currentAt);
      for (let byte = 0; byte < current.length; byte++) overlay.#bits[byte] |= current[byte];
    } else {
      // The order matters: a header of this boot says that the current bitmap is true.
      writeWhole(file, overlay.#bits, overlay.#currentAt);
      writeHeader(file, { ...header, boot });
    }
    if (sameBoot || header.boot === NO_BOOT) {
      // It is unknown which bits are committed on the disk, so the next flush commits all of them. If
      // a commit failed, the page cache shows bits that the disk does not have.
      overlay.#pages.fill(1);
      overlay.#newer = true;
    }
    return overlay;
  }

  get #currentAt(): number {
    return HEADER_BYTES + this.#bits.length;
  }

  /** Whether a block is in the overlay, and not in the base. */
  has(block: number): boolean {
    return (this.#bits[Math.floor(block / 8)] & 1 << block % 8) !== 0;
  }

  /** The first block after `block`, at most `end`, that is not on the same side as `block`. */
  endOfRun(block: number, end: number): number {
    const here = this.has(block);
    let next = block + 1;
    while (next < end && this.has(next) === here) next++;
    return next;
  }

  /**
   * Marks written blocks as present. A block that cannot be marked in the file is not present: such a
   * block was once read all the same, and was lost with the server.
   */
  mark(first: number, end: number): void {
    let block = first;
    while (block < end && this.has(block)) block++;
    if (block === end) return;
    const from = Math.floor(block / 8);
    const bytes = this.#bits.slice(from, Math.floor((end - 1) / 8) + 1);
    for (; block < end; block++) bytes[Math.floor(block / 8) - from] |= 1 << block % 8;
    writeWhole(this.#file, bytes, this.#currentAt + from);
    this.#bits.set(bytes, from);
    const lastPage = Math.floor((from + bytes.length - 1) / PAGE_BYTES);
    this.#pages.fill(1, Math.floor(from / PAGE_BYTES), lastPage + 1);
    this.#newer = true;
  }

  /** Reads blocks of the overlay, at an offset of the disk. */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    readWhole(this.#file, buffer, this.#dataAt + offset);
  }

  /** Writes at an offset of the disk. */
  write(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    writeWhole(this.#file, buffer, this.#dataAt + offset);
  }

  /** Makes a range of the overlay read as zeroes, with a hole if the filesystem can. */
  zero(offset: number, length: number): void {
    const at = this.#dataAt + offset;
    if (!this.#file.allocate("punch", at, length)) writeZeroes(this.#file, at, length);
  }

  /** Makes all written data durable: first the blocks, then their bits. */
  flush(): void {
    if (this.#broken) {
      const reason = "an earlier flush has failed, and what it lost is not known";
      throw new UblkError("SYSCALL_FAILED", { operation: "cow", reason, errno: EIO });
    }
    this.#sync();
    if (this.#newer) this.#commit();
  }

  #sync(): void {
    try {
      this.#file.sync(true);
    } catch (error) {
      this.#break();
      throw error;
    }
  }

  /**
   * Notes a failed flush, so that the next server of this boot does not trust the current bitmap
   * either. It once did: the kernel reports a failure only once, so that server's own flush succeeded
   * and committed blocks that were lost.
   */
  #break(): void {
    this.#broken = true;
    try {
      writeHeader(this.#file, { ...this.#header, boot: NO_BOOT });
      this.#file.sync(true);
    } catch {
      // The flush fails in any case, with the reason.
    }
  }

  /** Commits all pages it can: a page without room does not stop the others. */
  #commit(): void {
    const written: number[] = [];
    let failure: unknown;
    for (let page = 0; page < this.#pages.length; page++) {
      if (this.#pages[page] === 0) continue;
      const at = page * PAGE_BYTES;
      try {
        writeWhole(this.#file, this.#bits.subarray(at, at + PAGE_BYTES), HEADER_BYTES + at);
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
   * Flushes, and closes and unlocks the file. Even after an orderly shutdown of the machine, the next
   * boot trusts only committed blocks.
   */
  close(): void {
    try {
      this.flush();
    } finally {
      // A write may still be waiting for the base; it fails then.
      this.#file.close();
    }
  }

  /** Bytes of a block. The disk's last block may be shorter. */
  bytesOf(block: number): number {
    return Math.min(this.blockBytes, this.#header.size - block * this.blockBytes);
  }
}

function missing(path: string, state: "not there" | "empty" | "unfinished"): UblkError {
  const reason = `${path}, which has what was written, is ${state}`;
  return refused("cow", reason, "check that its filesystem is mounted, and the path");
}
