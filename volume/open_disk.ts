/**
 * Opens a volume as a disk, in the thread that serves it.
 *
 * @module
 */

import type { Backend } from "../disk/backend.ts";
import { invalidIn } from "../uapi/error.ts";
import { readSmallFile } from "../uring/libc.ts";
import type { CachePlace } from "./cache/options.ts";
import { lostWords } from "./lost.ts";
import { extentOf } from "./extents.ts";
import { VolumeMethods } from "./methods.ts";
import type { VolumeKeyFile } from "./seal/key_source.ts";
import { openReadOnly } from "./open_read_only.ts";
import { openServedVolume } from "./serve.ts";
import { DEFAULT_BLOCK_SIZE, journalShape } from "./shape.ts";
import { ENGINE_SIZES, waitUsOf } from "./sizes.ts";

/** A volume as a disk, as its specification has it. See `VolumeDiskOptions`. */
export interface VolumeDisk {
  readonly name: string;
  readonly store: string;
  readonly journal: string;
  readonly journalBytes: number;
  readonly withoutJournal: boolean;
  readonly force: boolean;
  readonly leaseMs: number;
  readonly gcBandwidth?: number;
  readonly whenFull: "wait" | "error";
  readonly durability: "local" | "store";
  readonly cache?: CachePlace;
  readonly key?: VolumeKeyFile;
  readonly blockSize?: number;
  readonly readOnly: boolean;
}

/** A volume as a disk of this thread. */
export interface OpenVolumeDisk extends Backend {
  /**
   * Has the journal brought into the store now, and not only once there is more of it.
   *
   * @default It is read-only, and there is nothing to bring
   */
  readonly hurry?: () => void;
  /**
   * Changes the size, in bytes, as `resize` does, while this thread goes on.
   *
   * @default It is read-only
   */
  readonly resizeLater?: (size: number) => Promise<void>;
  /**
   * The epoch of its hold on the volume.
   *
   * @default It is read-only, and holds nothing
   */
  readonly epoch?: number;
}

/**
 * Opens a volume as a disk.
 *
 * @param deadlineMs The time that its requests have, in milliseconds; undefined if they have long.
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_JOURNAL`, `VOLUME_BUSY`, `VOLUME_DAMAGED` or
 *   `VOLUME_STORE`; `INVALID_ARGUMENT` if its blocks have another size.
 */
export async function openDisk(
  options: VolumeDisk,
  deadlineMs?: number,
): Promise<OpenVolumeDisk> {
  const waitUs = waitUsOf(deadlineMs);
  const disk: OpenVolumeDisk =
    await (options.readOnly ? openReadOnly(options, waitUs) : openForWriting(options, deadlineMs));
  const { name, blockSize } = options;
  if (blockSize === undefined || blockSize === disk.blockSize) return disk;
  await disk.close!();
  throw invalidIn("a volume")(
    `${name} has blocks of ${disk.blockSize} bytes, and not ${blockSize}`,
    "leave the block size out: it is decided when a volume is created",
  );
}

async function openForWriting(
  options: VolumeDisk,
  deadlineMs: number | undefined,
): Promise<OpenVolumeDisk> {
  const { name, store, journal, journalBytes, withoutJournal, whenFull, durability } = options;
  const { cache, force, leaseMs, gcBandwidth, key } = options;
  const folder = `${journal}/${name}`;
  const shape = journalShape(journalBytes, ENGINE_SIZES, DEFAULT_BLOCK_SIZE);
  const served = await openServedVolume({
    ...{ name, store, folder, withoutJournal, force, leaseMs, gcBandwidth, cache, key, ...shape },
    host: `${readSmallFile("/proc/sys/kernel/hostname").trim()} (process ${Deno.pid})`,
    ...{ failsWhenFull: whenFull === "error", waitUs: waitUsOf(deadlineMs) },
    isDurableInStore: durability === "store",
  });
  const { engine, counters, volume: { manifest } } = served;
  const { lost, removed, epoch } = served.volume;
  const methods = new VolumeMethods(engine, (words) => console.error(words), deadlineMs);
  let { size } = manifest;
  return {
    get size() {
      return size;
    },
    blockSize: manifest.blockSize,
    persistent: true,
    fua: true,
    ...{ engine, counters, epoch },
    warnings: [lost && lostWords(name, lost), removed].filter((words) => words !== undefined),
    readAt: (buffer, offset) => methods.read(buffer, offset),
    writeAt: (buffer, offset, { fua }) => methods.write(buffer, offset, fua),
    flush: () => methods.flush(),
    extentAt: (offset, length) => extentOf(served.maps, manifest.blockSize, offset, length),
    trim: (offset, length) => methods.trim(offset, length),
    writeZeroes: (offset, length) => methods.writeZeroes(offset, length),
    resize(to) {
      served.resize(to);
      size = to;
    },
    async resizeLater(to) {
      await served.resizeLater(to);
      size = to;
    },
    hurry: served.hurry,
    async close() {
      await methods[Symbol.asyncDispose]();
      await served.close();
    },
  };
}
