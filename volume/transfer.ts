/**
 * Images of disks, into a volume and out of it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { realFiles } from "../files/real.ts";
import type { File, Files } from "../files/port.ts";
import { readUpTo, writeWhole } from "../files/whole.ts";
import { formatSize } from "../disk/size.ts";
import { UblkError } from "../uapi/error.ts";
import type { Volume } from "./volume.ts";

/** Bytes of a portion. */
const PORTION_BYTES = 1 << 20;
/** Portions on their way at a time. */
const PORTIONS = 4;
const ZEROES = Buffer.alloc(PORTION_BYTES);

/** How far a transfer has come. */
export interface TransferProgress {
  /** Bytes of the disk that are dealt with. */
  readonly doneBytes: number;
  /** Bytes of the disk in all. */
  readonly totalBytes: number;
  /** Bytes that were copied: the others are zeroes. */
  readonly copiedBytes: number;
}

/** Options of {@linkcode importImage} and {@linkcode exportImage}. */
export interface TransferOptions {
  /**
   * Called after each portion.
   *
   * @default Nobody is told
   */
  readonly onProgress?: (progress: TransferProgress) => void;
  /**
   * The files of this machine, for tests.
   *
   * @default The kernel's
   */
  readonly files?: Files;
}

/**
 * Copies a raw image into a volume, from its start. Zeroes take no room; what the volume has beyond
 * the image stays. A last block that the image has only in part is filled up with zeroes.
 *
 * @returns How much was copied. It is durable.
 * @throws {UblkError} `INVALID_ARGUMENT` if the volume is smaller than the image; the errors of
 *   files and of {@linkcode Volume.write}.
 */
export async function importImage(
  path: string,
  volume: Volume,
  options: TransferOptions = {},
): Promise<TransferProgress> {
  return await importPortions(path, volume, options, async (data, offset) => {
    let copied = 0;
    for (const { from, to, isZero } of piecesOf(data, volume.blockSize)) {
      if (isZero) await volume.trim(offset + from, to - from);
      else await volume.write(data.subarray(from, to), offset + from);
      if (!isZero) copied += to - from;
    }
    return copied;
  });
}

/**
 * Reads a raw image in portions of whole blocks, several at a time, the last one filled up with zeroes.
 *
 * @param write Brings a portion to its offset in the volume. @returns The bytes that it has written.
 * @returns How much was written. It is durable.
 * @throws {UblkError} `INVALID_ARGUMENT` if the volume is smaller than the image; the errors of files
 *   and of `write`.
 */
export async function importPortions(
  path: string,
  volume: Volume,
  { onProgress, files = realFiles }: TransferOptions,
  write: (data: Uint8Array<ArrayBuffer>, offset: number) => Promise<number>,
): Promise<TransferProgress> {
  using file = openImage(files, path);
  const totalBytes = file.size();
  refuseLarger(path, totalBytes, volume);
  const transfer = new Transfer(totalBytes, onProgress);
  for (let offset = 0; offset < totalBytes; offset += PORTION_BYTES) {
    const buffer = await transfer.buffer();
    const read = readUpTo(file, buffer, offset);
    const length = Math.ceil(read / volume.blockSize) * volume.blockSize;
    buffer.fill(0, read, length);
    transfer.begin(buffer, read, () => write(buffer.subarray(0, length), offset));
  }
  await transfer.finish();
  await volume.flush();
  return transfer.progress;
}

/**
 * Opens an image to read it.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if there is none, or nothing with a length: a pipe would pass for
 *   an empty image; the errors of files.
 */
export function openImage(files: Files, path: string): File {
  const kind = files.status(path)?.kind;
  if (kind === "file" || kind === "block device") return files.open(path);
  throw new UblkError("INVALID_ARGUMENT", {
    operation: `import ${path}`,
    reason: kind === undefined ? "there is no such file" : `it is a ${kind}`,
    hint: "give a file or a block device",
  });
}

/** Refuses an image that is larger than the volume. @throws {UblkError} `INVALID_ARGUMENT` */
function refuseLarger(path: string, bytes: number, { name, size }: Volume): void {
  if (bytes <= size) return;
  throw new UblkError("INVALID_ARGUMENT", {
    operation: `import ${path}`,
    reason: `it has ${formatSize(bytes)}, and the volume ${name} ${formatSize(size)}`,
    hint: "make a larger volume",
  });
}

/**
 * Copies a volume into a raw image, which is made or replaced. It is sparse: zeroes take no room.
 *
 * @returns How much was copied. It is durable.
 * @throws {UblkError} The errors of files and of {@linkcode Volume.read}.
 */
export async function exportImage(
  volume: Volume,
  path: string,
  { onProgress, files = realFiles }: TransferOptions = {},
): Promise<TransferProgress> {
  using file = files.open(path, { write: true, create: "if-missing", truncate: true });
  file.truncate(volume.size);
  const transfer = new Transfer(volume.size, onProgress);
  for (let offset = 0; offset < volume.size;) {
    const hole = volume.holeAt(offset);
    if (hole > 0) {
      offset += hole;
      transfer.skip(hole);
      continue;
    }
    const buffer = await transfer.buffer();
    const length = Math.min(PORTION_BYTES, volume.size - offset);
    const at = offset;
    transfer.begin(buffer, length, async () => {
      const portion = buffer.subarray(0, length);
      await volume.read(portion, at);
      let copied = 0;
      for (const { from, to, isZero } of piecesOf(portion, volume.blockSize)) {
        if (isZero) continue;
        writeWhole(file, portion.subarray(from, to), at + from);
        copied += to - from;
      }
      return copied;
    });
    offset += length;
  }
  await transfer.finish();
  file.sync(false);
  return transfer.progress;
}

/** Portions on their way, and what is told of them. */
class Transfer {
  readonly #onProgress: TransferOptions["onProgress"];
  readonly #free = Array.from({ length: PORTIONS }, () => new Uint8Array(PORTION_BYTES));
  readonly #underWay = new Set<Promise<void>>();
  readonly #totalBytes: number;
  #doneBytes = 0;
  #copiedBytes = 0;
  #failure: { readonly error: unknown } | undefined = undefined;

  /** A transfer of so many bytes. */
  constructor(totalBytes: number, onProgress: TransferOptions["onProgress"]) {
    this.#totalBytes = totalBytes;
    this.#onProgress = onProgress;
  }

  /** How far it has come. */
  get progress(): TransferProgress {
    return {
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
      copiedBytes: this.#copiedBytes,
    };
  }

  /** Waits for a buffer that is free. */
  async buffer(): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#free.length === 0) await Promise.race(this.#underWay);
    // Of several failures, the first one is told, once nobody uses the file any more.
    if (this.#failure !== undefined) await this.finish();
    return this.#free.pop()!;
  }

  /** Begins to copy a portion. */
  begin(buffer: Uint8Array<ArrayBuffer>, bytes: number, copy: () => Promise<number>): void {
    const done = copy().then(
      (copied) => {
        this.#doneBytes += bytes;
        this.#copiedBytes += copied;
        this.#onProgress?.(this.progress);
      },
    ).catch((error) => {
      this.#failure ??= { error };
    }).finally(() => {
      this.#free.push(buffer);
      this.#underWay.delete(done);
    });
    this.#underWay.add(done);
  }

  /** Passes over bytes. */
  skip(bytes: number): void {
    this.#doneBytes += bytes;
    this.#onProgress?.(this.progress);
  }

  /** Waits for all portions. */
  async finish(): Promise<void> {
    await Promise.all(this.#underWay);
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** Divides bytes into runs of blocks that are zeroes and that are not. */
function* piecesOf(
  bytes: Uint8Array<ArrayBuffer>,
  blockSize: number,
): Generator<{ from: number; to: number; isZero: boolean }> {
  for (let from = 0; from < bytes.length;) {
    const isZero = areZeroes(bytes.subarray(from, from + blockSize));
    let to = from + blockSize;
    while (to < bytes.length && areZeroes(bytes.subarray(to, to + blockSize)) === isZero) {
      to += blockSize;
    }
    yield { from, to, isZero };
    from = to;
  }
}

function areZeroes(bytes: Uint8Array<ArrayBuffer>): boolean {
  // Most blocks that are not zeroes do not begin with one.
  return bytes[0] === 0 && Buffer.compare(bytes, ZEROES.subarray(0, bytes.length)) === 0;
}
