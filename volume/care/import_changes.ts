/**
 * Brings a volume up to an image: only what differs is written.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { File } from "../../files/port.ts";
import { realFiles } from "../../files/real.ts";
import { readUpTo } from "../../files/whole.ts";
import { PORTION_BYTES, refuseLarger, Transfer, type TransferOptions } from "../transfer.ts";
import type { TransferProgress } from "../transfer.ts";
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
  { onProgress, files = realFiles }: TransferOptions = {},
): Promise<TransferProgress> {
  using file = files.open(path);
  const totalBytes = file.size();
  refuseLarger(path, totalBytes, volume);
  const transfer = new Transfer(totalBytes, onProgress);
  for (let offset = 0; offset < totalBytes; offset += PORTION_BYTES) {
    const buffer = await transfer.buffer();
    const bytes = Math.min(PORTION_BYTES, totalBytes - offset);
    transfer.begin(buffer, bytes, () => update(file, volume, buffer, offset, bytes));
  }
  await transfer.finish();
  await volume.flush();
  return transfer.progress;
}

/** Compares a portion, and writes what differs. @returns The bytes that were written. */
async function update(
  file: File,
  volume: Volume,
  buffer: Uint8Array<ArrayBuffer>,
  offset: number,
  bytes: number,
): Promise<number> {
  const { blockSize } = volume;
  const length = Math.ceil(bytes / blockSize) * blockSize;
  const wanted = buffer.subarray(0, length);
  wanted.fill(0, readUpTo(file, wanted, offset));
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
