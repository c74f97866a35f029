/**
 * The bytes of a disk in a mapping of this process.
 *
 * @module
 */

import { assert, fail } from "../uapi/error.ts";
import { bufferAt, discardPages, pageBytes } from "../uring/mapping.ts";

/** Bytes of one window: an ArrayBuffer has a limit, a disk has none. */
const WINDOW_BYTES = 1 << 30;

/** Typed arrays over a disk's memory, and the operations on it. */
export class MemoryWindows {
  readonly #windows: (Uint8Array<ArrayBuffer> | undefined)[];
  readonly #address: number;
  readonly #size: number;

  /** Makes windows over a mapping, which the caller still owns. */
  constructor(address: number, size: number) {
    assert(address > 0 && size > 0, "the disk's memory is mapped");
    this.#address = address;
    this.#size = size;
    this.#windows = new Array(Math.ceil(size / WINDOW_BYTES)).fill(undefined);
  }

  /**
   * A window, made on first use. V8 counts each as a gigabyte of heap and collects garbage, which
   * takes some 3 ms. If all were made at once, a disk of 1 TiB would take seconds to open.
   */
  #window(offset: number): Uint8Array<ArrayBuffer> {
    if (offset < 0 || offset >= this.#size) fail("a request is within the disk's memory");
    const index = Math.floor(offset / WINDOW_BYTES);
    const made = this.#windows[index];
    if (made !== undefined) return made;
    const start = index * WINDOW_BYTES;
    const bytes = Math.min(WINDOW_BYTES, this.#size - start);
    return this.#windows[index] = new Uint8Array(bufferAt(this.#address + start, bytes));
  }

  /** Copies to or from the disk. */
  copy(offset: number, buffer: Uint8Array<ArrayBuffer>, toDisk: boolean): void {
    let done = 0;
    while (done < buffer.length) {
      const window = this.#window(offset + done);
      const at = (offset + done) % WINDOW_BYTES;
      const bytes = Math.min(buffer.length - done, window.length - at);
      const disk = window.subarray(at, at + bytes);
      if (toDisk) disk.set(buffer.subarray(done, done + bytes));
      else buffer.set(disk, done);
      done += bytes;
    }
  }

  /** Writes zeroes. The memory stays allocated. */
  fill(offset: number, length: number): void {
    let done = 0;
    while (done < length) {
      const window = this.#window(offset + done);
      const at = (offset + done) % WINDOW_BYTES;
      const bytes = Math.min(length - done, window.length - at);
      window.fill(0, at, at + bytes);
      done += bytes;
    }
  }

  /** Zeroes a range, and frees its whole pages. */
  zero(offset: number, length: number): void {
    // Freed pages read as zeroes. The partial pages at both ends are overwritten.
    const page = pageBytes();
    const first = Math.ceil(offset / page) * page;
    const end = offset + length;
    const last = Math.floor(end / page) * page;
    if (first >= last) return this.fill(offset, length);
    if (first > offset) this.fill(offset, first - offset);
    if (end > last) this.fill(last, end - last);
    discardPages(this.#address + first, last - first);
  }
}
