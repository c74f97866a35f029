/**
 * Brings a volume up to an image: only what differs is written.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { importPortions, type TransferOptions, type TransferProgress } from "../transfer.ts";
import type { Volume } from "../volume.ts";

/**
 * Makes a volume hold a raw image, as `importImage` does, but reads what the volume has and writes only
 * the blocks that differ. So the next snapshot shares all the others with the one before.
 *
 * @returns How much was written. It is durable.
 * @throws {UblkError} `INVALID_ARGUMENT` if the volume is smaller than the image; the errors of
 *   files and of `Volume.read` and `Volume.write`.
 */
export async function importChanges(
  path: string,
  volume: Volume,
  options: TransferOptions = {},
): Promise<TransferProgress> {
  return await importPortions(
    path,
    volume,
    options,
    (wanted, offset) => update(volume, wanted, offset),
  );
}

/** Compares a portion, and writes what differs. @returns The bytes that were written. */
async function update(
  volume: Volume,
  wanted: Uint8Array<ArrayBuffer>,
  offset: number,
): Promise<number> {
  const { blockSize } = volume;
  const { length } = wanted;
  const old = new Uint8Array(length);
  await volume.read(old, offset);
  let written = 0;
  for (let from = 0; from < length;) {
    const kind = kindOf(wanted, old, from, blockSize);
    let to = from + blockSize;
    while (to < length && kindOf(wanted, old, to, blockSize) === kind) to += blockSize;
    if (kind === "zero") await volume.trim(offset + from, to - from);
    else if (kind === "data") await volume.write(wanted.subarray(from, to), offset + from);
    if (kind !== "same") written += to - from;
    from = to;
  }
  return written;
}

function kindOf(
  wanted: Uint8Array<ArrayBuffer>,
  old: Uint8Array<ArrayBuffer>,
  at: number,
  blockSize: number,
): "same" | "zero" | "data" {
  const block = wanted.subarray(at, at + blockSize);
  if (Buffer.compare(block, old.subarray(at, at + blockSize)) === 0) return "same";
  return block.every((byte) => byte === 0) ? "zero" : "data";
}
