/**
 * Changes of a volume as a stream, and back into a volume.
 *
 * @module
 */

import { realFiles } from "../../files/real.ts";
import { readUpTo } from "../../files/whole.ts";
import { formatSize } from "../../disk/size.ts";
import { UblkError } from "../../uapi/error.ts";
import { decodeDiff, type DiffRecord, encodeDiffMagic, encodeDiffRecord } from "../format/diff.ts";
import { HOLE } from "../format/place.ts";
import { FormatError } from "../format/record.ts";
import { referenceOf } from "../names.ts";
import { MACHINE } from "../seam.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import { openImage, type TransferOptions, type TransferProgress } from "../transfer.ts";
import type { Volume } from "../volume.ts";
import { ChunkData } from "./chunk_data.ts";
import { changes, type DiffOptions, statesOf } from "./diff.ts";

/** Bytes of a portion. */
const PORTION_BYTES = 1 << 20;

/**
 * The changes between two states of a volume, with their data, as a stream of bytes. `importDiff`
 * reads it, and so does `rbd import-diff`.
 *
 * @param from The older state: `NAME@SNAPSHOT`.
 * @param to The newer one: `NAME@SNAPSHOT`, or `NAME` as the store has it.
 * @throws {UblkError} As `diffVolumes`.
 */
export async function* diffStream(
  store: StoreLike,
  from: string,
  to: string,
  { onProgress, seam = MACHINE }: DiffOptions & Pick<TransferOptions, "onProgress"> = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const { before, now, blockSize, manifest, names } = await statesOf(opened, from, to, seam, stack);
  yield encodeDiffMagic();
  yield encodeDiffRecord({ kind: "from", name: referenceOf(from).snapshot! });
  const { snapshot } = referenceOf(to);
  if (snapshot !== undefined) yield encodeDiffRecord({ kind: "to", name: snapshot });
  yield encodeDiffRecord({ kind: "size", size: manifest.size });
  const all = [...changes(before.chunks, now.chunks)];
  const totalBytes = all.reduce((sum, { count }) => sum + count * blockSize, 0);
  const data = new ChunkData(opened, names, manifest);
  let [doneBytes, copiedBytes] = [0, 0];
  const most = PORTION_BYTES / blockSize;
  for (const { block, count, place } of all) {
    const portion = place === HOLE ? count : most;
    for (let at = 0; at < count; at += portion) {
      const blocks = Math.min(portion, count - at);
      const extent = { offset: (block + at) * blockSize, length: blocks * blockSize };
      if (place === HOLE) yield encodeDiffRecord({ kind: "zero", ...extent });
      else {
        // The data first: nothing stands in the stream that cannot be read.
        const bytes = await data.read(place + at, blocks, blockSize);
        yield encodeDiffRecord({ kind: "data", ...extent });
        yield bytes;
        copiedBytes += extent.length;
      }
      doneBytes += extent.length;
      onProgress?.({ doneBytes, totalBytes, copiedBytes });
    }
  }
  yield encodeDiffRecord({ kind: "end" });
}

/**
 * Brings a volume that holds the older state up to the newer one, and clears what it has beyond the end
 * of that one's disk. Nothing tells whether it holds the older state. If it is interrupted, the volume holds neither, and the same call makes it whole.
 *
 * @param path A file with the stream. All of it is looked at before anything is written.
 * @returns How much was written. It is durable.
 * @throws {UblkError} `INVALID_ARGUMENT` if the file is no whole stream, or is of a larger disk or other
 *   blocks; the errors of files and of `Volume.write`.
 */
export async function importDiff(
  path: string,
  volume: Volume,
  { onProgress, files = realFiles }: TransferOptions = {},
): Promise<TransferProgress> {
  using file = openImage(files, path);
  const read = (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, readUpTo(file, bytes, offset));
  };
  const size = file.size();
  const totalBytes = checked(path, size, volume, read);
  let [doneBytes, copiedBytes] = [0, 0];
  for (const { record, at } of decodeDiff(read)) {
    // What a smaller disk has lost is no change of it, and would be there again once it grows.
    if (record.kind === "size") await clearFrom(volume, record.size);
    if (record.kind !== "data" && record.kind !== "zero") continue;
    const { offset, length } = record;
    if (record.kind === "zero") await volume.trim(offset, length);
    for (let done = 0; record.kind === "data" && done < length; done += PORTION_BYTES) {
      const part = Math.min(PORTION_BYTES, length - done);
      await volume.write(read(at + done, part), offset + done);
      copiedBytes += part;
      onProgress?.({ doneBytes: doneBytes + done + part, totalBytes, copiedBytes });
    }
    doneBytes += length;
    onProgress?.({ doneBytes, totalBytes, copiedBytes });
  }
  await volume.flush();
  return { doneBytes, totalBytes, copiedBytes };
}

async function clearFrom(volume: Volume, size: number): Promise<void> {
  const end = Math.ceil(size / volume.blockSize) * volume.blockSize;
  if (end < volume.size) await volume.trim(end, volume.size - end);
}

/** Looks at all records. @returns Bytes of the disk that they change. */
function checked(
  path: string,
  fileBytes: number,
  { name, size, blockSize }: Volume,
  read: (offset: number, length: number) => Uint8Array<ArrayBuffer>,
): number {
  const refused = (reason: string, hint: string) =>
    new UblkError("INVALID_ARGUMENT", { operation: `import ${path}`, reason, hint });
  const again = "make it again with `ublk-volume diff --stream`";
  let total = 0;
  try {
    for (const { record, at } of decodeDiff(read)) {
      const end = endOf(record);
      if (end > size) {
        const reason = `it is of a disk of ${formatSize(end)} or more, and ${name} has ${
          formatSize(size)
        }`;
        throw refused(reason, "give the volume another size first");
      }
      if (record.kind !== "data" && record.kind !== "zero") continue;
      if (record.offset % blockSize !== 0 || record.length % blockSize !== 0) {
        throw refused(
          `it has no whole blocks of ${blockSize} bytes`,
          "use a volume of such blocks",
        );
      }
      if (record.kind === "data" && at + record.length > fileBytes) {
        throw new FormatError("it ends before its end");
      }
      total += record.length;
    }
  } catch (error) {
    if (error instanceof FormatError) throw refused(error.message, again);
    throw error;
  }
  return total;
}

/** The byte of the disk up to which a record goes. */
function endOf(record: DiffRecord): number {
  if (record.kind === "size") return record.size;
  return record.kind === "data" || record.kind === "zero" ? record.offset + record.length : 0;
}
