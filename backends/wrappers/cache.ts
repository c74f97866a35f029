/**
 * A cache in memory, of a fixed size.
 *
 * @module
 */

import type { Backend, OpenContext, Sharing } from "../../disk/backend.ts";
import type { Size } from "../../disk/geometry.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { Cached } from "./cached.ts";
import { checkOptions, refused, type Wrapper } from "../../disk/wrapper.ts";

/** The cached blocks are in the heap of one thread. */
export const sharing: Sharing = "single";

/** The time at which written data reaches the inner disk. */
export type CacheMode = "write-back" | "write-through";

/** Options of {@linkcode cache}. */
export interface CacheOptions {
  /**
   * Maximum number of cached bytes.
   *
   * @default "64MiB"
   */
  readonly size?: Size;
  /**
   * `"write-back"`: a write is answered when it is in the cache, and reaches the inner disk on a
   * flush, with FUA, or when its block is evicted. `"write-through"`: a write is answered when the
   * inner disk has it.
   *
   * @default "write-through"
   */
  readonly mode?: CacheMode;
  /**
   * Size of a cache block in bytes: a power of two from 4096 to 1 MiB.
   *
   * @default 4096
   */
  readonly block?: Size;
}

/**
 * A disk behind a cache, for disks that are slower than memory: over a network, or computed. The
 * cache keeps the most recently used blocks.
 *
 * A write-back cache is lost with its server, like the cache of a disk that loses power: flushed data
 * is safe, but the device cannot be recovered.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if an option is not possible.
 *
 * @example
 * ```ts
 * import { cache, file } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = cache(file("disk.img"), { size: "256MiB", mode: "write-back" });
 * assertEquals(disk.options, { size: 256 << 20, mode: "write-back", block: 4096 });
 * ```
 */
export function cache(inner: BackendSpec, options: CacheOptions = {}): BackendSpec {
  const checked = checkOptions<Partial<Stored>>(wrapper, options);
  const { size = 64 << 20, mode = "write-through", block = 4096 } = checked;
  if ((block & block - 1) !== 0) {
    throw refused("cache", `block=${block} is not possible`, "use a power of two");
  }
  if (size < block) {
    throw refused("cache", `size=${size} is less than a block of ${block}`, "give more");
  }
  const stored: Stored = { size, mode, block };
  return { module: import.meta.url, options: stored, inner: [inner] };
}

/** The stored form of the options. */
interface Stored {
  readonly size: number;
  readonly mode: CacheMode;
  readonly block: number;
}

/** Opens the wrapper around the inner disk. */
export function open(options: unknown, { inner: [disk] }: Pick<OpenContext, "inner">): Backend {
  const { size, mode, block } = options as Stored;
  const writesBack = mode === "write-back" && disk.readOnly !== true;
  return new Cached(disk, { bytes: size, block, writesBack });
}

/** `cache` on a command line. */
export const wrapper: Wrapper = {
  name: "cache",
  summary: "caches recently used blocks in memory",
  isDurable: ({ mode }) => mode !== "write-back",
  options: [
    {
      name: "size",
      kind: "size",
      min: 4096,
      max: 2 ** 32,
      first: true,
      help: "The most bytes to cache. Default: 64M.",
    },
    {
      name: "mode",
      kind: "text",
      choices: ["write-through", "write-back"],
      help: "When writes reach the disk inside. Default: write-through.",
    },
    {
      name: "block",
      kind: "size",
      min: 4096,
      max: 1 << 20,
      help: "Bytes per cached block, a power of two. Default: 4K.",
    },
  ],
  spec: (inner, given) => cache(inner, given as CacheOptions),
};
