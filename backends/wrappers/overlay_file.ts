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
 * has failed it names none: what the page cache has lost then is not known. (A server that is killed
 * between the failure and this note leaves a bitmap that is trusted: nobody else was told of it.)
 *
 * Until all of a new file is there its header says that it is unfinished: whatever ended its making,
 * the next server begins it anew.
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

/** Unless the options say otherwise, in bytes. */
export const DEFAULT_OVERLAY_BLOCK: number = 64 << 10;

/** An open overlay. */
export class OverlayFile {
  /** Bytes of a block. */
  readonly blockBytes: number;
  readonly #file: File;
  readonly #bits: Uint8Array<ArrayBuffer>;
  /** Pages of the bitmap that are not committed. */
  readonly #pages: Uint8Array;
  readonly #header: Header;
  readonly #dataAt: number;
  #newer = false;
  /** Once it has failed to write pages the kernel calls them clean: no later flush is true. */
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
   * Opens the overlay of a disk of `size` bytes, or makes it where there is none.
   *
   * @param block Bytes of a block; where left out, those of the overlay that is there.
   * @param recovering The disk goes on, so that its overlay must be there.
   * @param files Where it is.
   * @throws {UblkError} `INVALID_ARGUMENT` where the file is something else, or of another disk.
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
      // Now that nobody else has it: another server may have made it meanwhile.
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
    // Blocks that were committed once and written again since: the page cache showed what the disk
    // had lost of them, this server's flush found nothing to write, and the power took it.
    if (header.boot === NO_BOOT) file.dropCache();
    readWhole(file, overlay.#bits, HEADER_BYTES);
    if (sameBoot) {
      // Earlier versions committed blocks, too, that they had not been able to note here.
      const current = new Uint8Array(overlay.#bits.length);
      readWhole(file, current, overlay.#currentAt);
      for (let byte = 0; byte < current.length; byte++) overlay.#bits[byte] |= current[byte];
    } else {
      // In this order: a header of this boot says that the current bitmap is true.
      writeWhole(file, overlay.#bits, overlay.#currentAt);
      writeHeader(file, { ...header, boot });
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

  /**
   * Notes that blocks are here. They have been written. What cannot be noted in the file is not
   * here: such a block was once read all the same, and was gone with the server.
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

  /** Reads what is here, at an offset of the disk. */
  read(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    readWhole(this.#file, buffer, this.#dataAt + offset);
  }

  /** Writes at an offset of the disk. */
  write(buffer: Uint8Array<ArrayBuffer>, offset: number): void {
    writeWhole(this.#file, buffer, this.#dataAt + offset);
  }

  /** Makes a range here read as zeroes, in a hole where the filesystem can. */
  zero(offset: number, length: number): void {
    const at = this.#dataAt + offset;
    if (!this.#file.allocate("punch", at, length)) writeZeroes(this.#file, at, length);
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
    try {
      this.#file.sync(true);
    } catch (error) {
      this.#break();
      throw error;
    }
  }

  /**
   * The next server of this boot is not to trust the current bitmap either. It did: a flush of its
   * own went well, since the kernel tells of a failure once, and committed blocks that were lost.
   */
  #break(): void {
    this.#broken = true;
    try {
      writeHeader(this.#file, { ...this.#header, boot: NO_BOOT });
      this.#file.sync(true);
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
   * Flushes, since after an orderly end of this machine too the next boot trusts only what is
   * committed; and lets go of the file, and of its lock.
   */
  close(): void {
    try {
      this.flush();
    } finally {
      // A write may still wait for the base: it fails then.
      this.#file.close();
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
