/**
 * A part of a disk, given by its start and length.
 *
 * @module
 */

import type { Backend, OpenContext, Sharing } from "../../disk/backend.ts";
import type { Size } from "../../disk/geometry.ts";
import { formatSize } from "../../disk/size.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { Window } from "./window.ts";
import { checkOptions, refused, type Wrapper } from "../../disk/wrapper.ts";

/** There is no state to share. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode offset}. */
export interface OffsetOptions {
  /**
   * Start of the part: bytes, or a text such as `"1MiB"`.
   *
   * @default 0
   */
  readonly start?: Size;
  /**
   * Size of the part.
   *
   * @default Up to the end of the disk, even after a resize
   */
  readonly size?: Size;
}

/**
 * A part of a disk as a disk of its own. Both numbers must be multiples of the disk's block size, which
 * is checked when it is served.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if a number is invalid.
 *
 * @example A filesystem behind a header of 1 MiB
 * ```ts
 * import { file, offset } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(offset(file("disk.img"), { start: "1MiB" }).options, { start: 1 << 20 });
 * ```
 */
export function offset(inner: BackendSpec, options: OffsetOptions): BackendSpec {
  return { module: import.meta.url, options: checkOptions(wrapper, options), inner: [inner] };
}

/** Opens the wrapper around the inner disk. */
export function open(options: unknown, { inner: [disk] }: Pick<OpenContext, "inner">): Backend {
  const { start = 0, size } = options as { start?: number; size?: number };
  const { blockSize = 512 } = disk;
  for (const [name, bytes] of Object.entries({ start, size: size ?? 0 })) {
    if (bytes % blockSize === 0) continue;
    const hint = `use a multiple of ${blockSize}`;
    throw refused("offset", `${name} ${bytes} is not in whole blocks of ${blockSize}`, hint);
  }
  if (start + (size ?? blockSize) > disk.size) {
    const reason = `it ends beyond the disk, which has ${formatSize(disk.size)}`;
    throw refused("offset", reason, "use a lesser start or size");
  }
  return new Window(disk, start, size);
}

/** `offset` on a command line. */
export const wrapper: Wrapper = {
  name: "offset",
  summary: "a part of the disk",
  options: [
    { name: "start", kind: "size", first: true, help: "Its first byte. Default: 0." },
    { name: "size", kind: "size", min: 512, help: "Its size. Default: up to the end." },
  ],
  spec: (inner, given) => offset(inner, given as OffsetOptions),
};
