/**
 * A partition of a disk, found by the disk's own table.
 *
 * @module
 */

import type { Backend, OpenContext, Sharing } from "../../disk/backend.ts";
import type { BackendSpec } from "../../disk/spec.ts";
import { findPartition } from "./partition_table.ts";
import { Window } from "./window.ts";
import { checkOptions, type Wrapper } from "../../disk/wrapper.ts";

/** There is no state to share. */
export const sharing: Sharing = "per-queue";

/** Options of {@linkcode partition}. */
export interface PartitionOptions {
  /** The partition's number, as in the kernel: from 1; logical partitions of an MBR from 5. */
  readonly number: number;
}

/**
 * A partition of a disk as a disk of its own. The table (GPT or MBR) is read when the disk is served;
 * later changes of the table have no effect.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`. When served: if there is no such partition, or the table is
 *   damaged.
 *
 * @example
 * ```ts
 * import { file, partition } from "@ublk/ublk";
 * import { assertThrows } from "@std/assert";
 *
 * partition(file("disk.img"), { number: 2 });
 * assertThrows(() => partition(file("disk.img"), { number: 0 }), Error, "use 1 to");
 * ```
 */
export function partition(inner: BackendSpec, options: PartitionOptions): BackendSpec {
  return { module: import.meta.url, options: checkOptions(wrapper, options), inner: [inner] };
}

/** Opens the wrapper around the inner disk. */
export async function open(
  options: unknown,
  { inner: [disk] }: Pick<OpenContext, "inner">,
): Promise<Backend> {
  const { blockSize = 512, size } = disk;
  const read = async (offset: number, bytes: number) => {
    const buffer = new Uint8Array(bytes);
    await disk.readAt(buffer, offset);
    return buffer;
  };
  const { number } = options as PartitionOptions;
  const { start, bytes } = await findPartition({ blockSize, size, read }, number);
  return new Window(disk, start, bytes);
}

/** `partition` on a command line. */
export const wrapper: Wrapper = {
  name: "partition",
  summary: "a partition of the disk (GPT or MBR)",
  options: [
    {
      name: "number",
      kind: "integer",
      first: true,
      required: true,
      min: 1,
      max: 1 << 20,
      help: "As the kernel counts: from 1, logical ones of an MBR from 5.",
    },
  ],
  spec: (inner, given) => partition(inner, given as unknown as PartitionOptions),
};
