/**
 * A RAM disk: one private mapping that all queues share. It is sparse: what was never written, or
 * has been trimmed, takes no memory and reads as zeroes.
 *
 * With `NEED_GET_DATA` the kernel copies between requests and this memory by itself; `readAt` and
 * `writeAt` serve the plain copying path, on kernels or in settings without it.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { bufferAt, discardPages, Mapping, pageAlign, pageBytes } from "../uring/mapping.ts";
import type { Backend, OpenContext, Sharing } from "./backend.ts";
import { type Geometry, geometryOf, type GeometryOptions, type Size } from "./geometry.ts";
import { formatSize, parseSize } from "./size.ts";
import type { BackendSpec } from "./spec.ts";
import type { Target } from "./target.ts";

/** The memory is shared by address, so each queue's thread opens its own view of it. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode memory} beside the size. */
export interface MemoryOptions extends Omit<GeometryOptions, "size"> {
  /** Allow a disk larger than the machine's memory: it fails only when it fills. */
  readonly overcommit?: boolean;
  /**
   * How large the disk may become when it is resized; its size where left out. It takes addresses,
   * not memory.
   */
  readonly maxSize?: Size;
  /** Let the kernel touch the memory directly where it can; true unless set. */
  readonly direct?: boolean;
}

interface StoredOptions extends Geometry {
  readonly overcommit: boolean;
  readonly maxSize: number;
  readonly direct: boolean;
}

/**
 * A RAM disk.
 *
 * @param size Bytes, or a text such as `"1GiB"`.
 * @throws {RangeError} Where the size, the greatest size or the block size is not one.
 *
 * @example
 * ```ts
 * import { memory } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(memory("1GiB").options, {
 *   size: 1 << 30,
 *   blockSize: 512,
 *   readOnly: false,
 *   overcommit: false,
 *   maxSize: 1 << 30,
 *   direct: true,
 * });
 * ```
 */
export function memory(size: Size, options: MemoryOptions = {}): BackendSpec {
  const { overcommit = false, direct = true, maxSize: most, ...rest } = options;
  const geometry = geometryOf({ size, ...rest });
  const maxSize = typeof most === "string" ? parseSize(most) : most ?? geometry.size;
  if (!Number.isSafeInteger(maxSize) || maxSize < geometry.size) {
    throw new RangeError(`maxSize ${maxSize} is less than the size ${geometry.size}; give more`);
  }
  const stored: StoredOptions = { ...geometry, overcommit, maxSize, direct };
  return { module: import.meta.url, options: stored };
}

/** Where the disk's memory is. */
interface Shared {
  readonly address: number;
}

// The thread that made a mapping is the one that releases it.
const mappings = new Map<number, Mapping>();

/**
 * Checks that a disk of that size can fill without exhausting this machine's memory.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function checkFits(size: number): void {
  const { total } = Deno.systemMemoryInfo();
  if (size <= total) return;
  throw new UblkError("INVALID_ARGUMENT", {
    operation: `a RAM disk of ${formatSize(size)}`,
    reason: `the machine has ${formatSize(total)} of memory`,
    hint: "ask for less, or allow it with --overcommit",
  });
}

/** Maps the disk's memory, once for all queues. */
export function share(options: unknown): Shared {
  const { size, maxSize, overcommit } = options as StoredOptions;
  if (!overcommit) checkFits(size);
  const mapping = Mapping.anonymous(pageAlign(maxSize));
  mappings.set(mapping.address, mapping);
  return { address: mapping.address };
}

/** Releases the disk's memory. */
export function unshare(shared: unknown): void {
  const { address } = shared as Shared;
  mappings.get(address)?.[Symbol.dispose]();
  mappings.delete(address);
}

/** Opens the memory in one queue's thread. */
export function open(options: unknown, context: OpenContext): Backend {
  const { direct, overcommit, maxSize, blockSize, readOnly, size } = options as StoredOptions;
  const { address } = context.shared as Shared;
  const windows = new Windows(address, maxSize);
  let current = size;
  const zero = (offset: number, length: number) => {
    // Whole pages are given back, which also zeroes them; the ends are written.
    const page = pageBytes();
    const first = Math.ceil(offset / page) * page;
    const end = offset + length;
    const last = Math.floor(end / page) * page;
    if (first >= last) return windows.fill(offset, length);
    if (first > offset) windows.fill(offset, first - offset);
    if (end > last) windows.fill(last, end - last);
    discardPages(address + first, last - first);
  };
  return {
    get size() {
      return current;
    },
    blockSize,
    readOnly,
    ...(direct ? { address } : {}),
    synchronous: true,
    readAt: (buffer, offset) => windows.copy(offset, buffer, false),
    writeAt: (buffer, offset) => windows.copy(offset, buffer, true),
    trim: zero,
    // Memory given back is taken again on the next write and cannot run out more than it could
    // before, but who asks for no unmapping gets pages that stay.
    writeZeroes: (offset, length, { mayUnmap }) =>
      mayUnmap ? zero(offset, length) : windows.fill(offset, length),
    resize(size) {
      checkNewSize(size, blockSize, maxSize);
      if (size > current && !overcommit) checkFits(size);
      // What is cut off is forgotten: it reads as zeroes should the disk grow again.
      if (size < current) zero(size, current - size);
      current = size;
    },
  };
}

function checkNewSize(size: number, blockSize: number, maxSize: number): void {
  const fail = (reason: string, hint: string) =>
    new UblkError("INVALID_ARGUMENT", { operation: "resize the RAM disk", reason, hint });
  if (!Number.isSafeInteger(size) || size <= 0 || size % blockSize !== 0) {
    throw fail(`size ${size} is not possible`, `use a positive multiple of ${blockSize} bytes`);
  }
  if (size <= maxSize) return;
  const reason = `${formatSize(size)} is more than the ${formatSize(maxSize)} that it may have`;
  throw fail(reason, "ask for less, or serve it with a greater maxSize (--max-size)");
}

/** Bytes of one window: an ArrayBuffer has a limit, a disk has none. */
const WINDOW_BYTES = 1 << 30;

/** Typed arrays over the disk's memory. */
class Windows {
  readonly #windows: (Uint8Array<ArrayBuffer> | undefined)[];
  readonly #address: number;
  readonly #size: number;

  constructor(address: number, size: number) {
    this.#address = address;
    this.#size = size;
    this.#windows = new Array(Math.ceil(size / WINDOW_BYTES)).fill(undefined);
  }

  /**
   * Made on first use: V8 takes each for a gigabyte of heap and collects garbage, some 3 ms. All at
   * once, a disk of 1 TiB would take seconds to open.
   */
  #window(offset: number): Uint8Array<ArrayBuffer> {
    const index = Math.floor(offset / WINDOW_BYTES);
    const made = this.#windows[index];
    if (made !== undefined) return made;
    const start = index * WINDOW_BYTES;
    const bytes = Math.min(WINDOW_BYTES, this.#size - start);
    return this.#windows[index] = new Uint8Array(bufferAt(this.#address + start, bytes));
  }

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
}

/** `mem` on a command line. */
export const target: Target = {
  name: "mem",
  aliases: ["memory"],
  summary: "a RAM disk",
  persistent: false,
  files: { min: 0, max: 0 },
  options: [
    { name: "size", kind: "size", help: "The disk's size. Default: 1GiB." },
    { name: "max-size", kind: "size", help: "How large it may become. Default: its size." },
    { name: "overcommit", kind: "switch", help: "Allow more than the machine's memory." },
  ],
  spec: ({ size = 2 ** 30, ...values }) =>
    memory(size as number, {
      maxSize: values["max-size"] as number | undefined,
      overcommit: values.overcommit === true,
      blockSize: values["block-size"],
      readOnly: values["read-only"],
    }),
};
