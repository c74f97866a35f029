/**
 * Reads files from their start, one after the other, into one buffer: piece by piece, while the caller
 * works on what has come. The kernel's files are read through a ring, others and those of a kernel
 * without rings by the same calls as everything else.
 *
 * A reader that reads a large file whole and then looks at it has the disk wait for the processor and
 * the processor for the disk: the replay of a journal took as long as both together.
 *
 * The buffer lies in huge pages, where the kernel has some. Half of the CPU time of a replay was the
 * kernel's, for pages of 4 KiB.
 *
 * @module
 */

import { assert, isUblkError } from "../uapi/error.ts";
import { adviseHugePages, HUGE_PAGE_BYTES, Mapping, pageAlign } from "../uring/mapping.ts";
import { openRing } from "../uring/open_ring.ts";
import type { Ring } from "../uring/ring.ts";
import { prepRead } from "../uring/sqe.ts";
import type { File } from "./port.ts";
import { RealFile } from "./real.ts";
import { readUpTo } from "./whole.ts";

/** Options of a {@linkcode ReadAhead}. */
export interface ReadAheadOptions {
  /** The files that may be read. */
  readonly files: readonly File[];
  /** Bytes of the buffer: how much of a file is read. Whole pages, for files past the page cache. */
  readonly bytes: number;
  /**
   * Bytes of a piece: whole pages.
   *
   * @default 2 MiB, but at most a quarter of the buffer
   */
  readonly piece?: number;
}

/** Pieces that are read at a time: 8 MiB keep any disk busy. */
const AT_ONCE = 4;

/** Reads ahead. */
export class ReadAhead implements Disposable {
  /** The buffer. Only what {@linkcode upTo} has waited for has the contents of the file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Undefined if no file is the kernel's: files in memory can be read into any memory. */
  readonly #mapping: Mapping | undefined = undefined;
  readonly #address: number = 0;
  readonly #piece: number;
  /** What each piece has brought: bytes, a negative errno, or {@linkcode UNDER_WAY}. */
  readonly #results: Int32Array<ArrayBuffer>;
  /** Undefined before the first of the kernel's files; null if no ring can be had. */
  #ring: Ring | null | undefined = undefined;
  #file: File | undefined = undefined;
  /** Pieces that were asked for, and those whose bytes are there. */
  #asked = 0;
  #there = 0;
  #underWay = 0;

  /** Maps the buffer. */
  constructor({ files, bytes, piece }: ReadAheadOptions) {
    assert(Number.isSafeInteger(bytes) && bytes > 0, "something is read");
    this.#piece = piece ?? Math.min(HUGE_PAGE_BYTES, wholePages(bytes / 4));
    assert(Number.isSafeInteger(this.#piece) && this.#piece > 0, "piece by piece");
    this.#results = new Int32Array(Math.ceil(bytes / this.#piece));
    if (!files.some((file) => file instanceof RealFile)) {
      this.bytes = new Uint8Array(bytes);
      return;
    }
    const huge = Math.floor(bytes / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES;
    this.#mapping = Mapping.anonymous(pageAlign(bytes) + (huge > 0 ? HUGE_PAGE_BYTES : 0));
    const { address } = this.#mapping;
    const skipped = huge > 0 ? Math.ceil(address / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES - address : 0;
    this.#address = address + skipped;
    if (huge > 0) adviseHugePages(this.#address, huge);
    this.bytes = new Uint8Array(this.#mapping.buffer(skipped, bytes));
  }

  /** The file that was begun last. */
  get file(): File | undefined {
    return this.#file;
  }

  /** Begins to read a file, instead of the one before. */
  begin(file: File): void {
    this.#settle();
    this.#file = file;
    this.#asked = this.#there = 0;
    this.#ask();
  }

  /**
   * Waits until the beginning of the file is in the buffer, or all of it that fits. Behind the end of
   * the file are zeroes.
   *
   * @param bytes The bytes to wait for. More than the buffer has are as many as it has.
   * @throws {UblkError} `SYSCALL_FAILED`
   */
  upTo(bytes: number): void {
    const wanted = Math.ceil(Math.min(bytes, this.bytes.length) / this.#piece);
    while (this.#there < wanted) {
      this.#take(this.#there);
      this.#there++;
      this.#ask();
    }
  }

  /** Asks the ring for the next pieces. */
  #ask(): void {
    const file = this.#file;
    if (!(file instanceof RealFile)) return;
    assert(this.#mapping !== undefined, "the file is one of those that were named");
    const ring = this.#openRing();
    if (ring === null) return;
    const end = Math.min(this.#there + AT_ONCE, this.#results.length);
    if (this.#asked >= end) return;
    for (; this.#asked < end; this.#asked++) {
      const from = this.#asked * this.#piece;
      const length = Math.min(this.#piece, this.bytes.length - from);
      this.#results[this.#asked] = UNDER_WAY;
      this.#underWay++;
      prepRead(ring, file.fd, this.#address + from, length, from, this.#asked, 0);
    }
    ring.enter(0);
  }

  #openRing(): Ring | null {
    if (this.#ring !== undefined) return this.#ring;
    try {
      return this.#ring = openRing({ entries: AT_ONCE }).ring;
    } catch (error) {
      // `IO_URING_FORBIDDEN` in many containers, `KERNEL_TOO_OLD`, `MEMORY_LIMIT`.
      if (!isUblkError(error)) throw error;
      return this.#ring = null;
    }
  }

  /** Has the bytes of a piece in the buffer. */
  #take(nth: number): void {
    const from = nth * this.#piece;
    const piece = this.bytes.subarray(from, from + this.#piece);
    let come = 0;
    if (nth < this.#asked) {
      while (this.#results[nth] === UNDER_WAY) this.#reap();
      come = Math.max(this.#results[nth], 0);
    }
    if (come === piece.length) return;
    // Not asked for, or cut short, or failed: the plain call goes on, or says what is wrong. Past the
    // page cache it can only go on with a sector.
    come -= come % SECTOR_BYTES;
    come += readUpTo(this.#file!, piece.subarray(come), from + come);
    piece.fill(0, come);
  }

  /** Waits for a completion. */
  #reap(): void {
    const ring = this.#ring!;
    ring.enter(1);
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      this.#results[ring.cqes[at]] = ring.cqes[at + 2];
      this.#underWay--;
      ring.seen();
    }
  }

  /** Waits until nothing writes to the buffer. */
  #settle(): void {
    while (this.#underWay > 0) this.#reap();
  }

  [Symbol.dispose](): void {
    this.#settle();
    this.#ring?.[Symbol.dispose]();
    this.#mapping?.[Symbol.dispose]();
  }
}

/** No result of a read. */
const UNDER_WAY = -0x8000_0000;
/** The largest sectors of disks, and a multiple of any. */
const SECTOR_BYTES = 4096;

function wholePages(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}
