/**
 * A RAM disk: one private mapping that all queues share. It is sparse: blocks that were never
 * written, or were discarded, take no memory and read as zeroes.
 *
 * With `NEED_GET_DATA` the kernel copies between requests and this memory by itself. `readAt` and
 * `writeAt` serve the plain copying path, if the kernel or the options leave no other.
 *
 * @module
 */

import { assert, UblkError } from "../uapi/error.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import type { Backend, OpenContext, Sharing } from "../disk/backend.ts";
import { type Geometry, geometryOf, type GeometryOptions, type Size } from "../disk/geometry.ts";
import { MemoryWindows } from "./memory_windows.ts";
import { formatSize, parseSize } from "../disk/size.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { Target } from "../disk/target.ts";

/** The threads share the memory by its address; each queue's thread opens its own view of it. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode memory} beside the size. */
export interface MemoryOptions extends Omit<GeometryOptions, "size"> {
  /**
   * Allow a disk larger than the machine's memory. It fails only when it fills up.
   *
   * @default false
   */
  readonly overcommit?: boolean;
  /**
   * The maximum size after a resize. It reserves addresses, not memory.
   *
   * @default The size of the disk
   */
  readonly maxSize?: Size;
  /**
   * Let the kernel access the memory directly if it can.
   *
   * @default true
   */
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
 * @throws {RangeError} If the size, the maximum size or the block size is invalid.
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

/** The place of the disk's memory. */
interface Shared {
  readonly address: number;
}

// The thread that made a mapping also releases it.
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
  assert(!mappings.has(mapping.address), "no two disks have the same memory");
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
  const windows = new MemoryWindows(address, maxSize);
  let current = size;
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
    trim: (offset, length) => windows.zero(offset, length),
    // Freed memory is allocated again on the next write, which is no more likely to fail than
    // before. Still, a request without permission to unmap keeps its pages.
    writeZeroes: (offset, length, { mayUnmap }) =>
      mayUnmap ? windows.zero(offset, length) : windows.fill(offset, length),
    resize(size) {
      checkNewSize(size, blockSize, maxSize);
      if (size > current && !overcommit) checkFits(size);
      // Zero the part that is cut off, which must read as zeroes if the disk grows again.
      if (size < current) windows.zero(size, current - size);
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

/** `mem` on a command line. */
export const target: Target = {
  name: "mem",
  aliases: ["memory"],
  summary: "a RAM disk",
  persistent: false,
  files: { min: 0, max: 0 },
  operand: "size",
  options: [
    { name: "size", kind: "size", help: "The disk's size. Default: 1GiB." },
    {
      name: "max-size",
      kind: "size",
      help: "The largest size that a resize may give it. Default: its size.",
    },
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
