/**
 * Checks whether a backend can take over another server's device. Pure functions.
 *
 * @module
 */

import { pathOf } from "../ctrl/data_path.ts";
import type { DiskDescription } from "../ctrl/params.ts";
import type { BackendTraits } from "../disk/traits.ts";
import { UBLK_F_PER_IO_DAEMON, UBLK_F_SHMEM_ZC, UBLK_F_ZONED } from "../uapi/features.ts";
import type { Settings } from "./settings.ts";

/** A reason not to take over a device, and its remedy. */
export interface Misfit {
  /** The reason. */
  readonly reason: string;
  /** The remedy. */
  readonly hint: string;
}

/**
 * The first reason why the backend or the options do not fit the device; undefined if all fit. A
 * device keeps the properties it was made with, because its users rely on them.
 *
 * @param flags The device's `UBLK_F_*`.
 */
export function misfit(
  disk: DiskDescription,
  flags: number,
  traits: BackendTraits,
  settings: Pick<Settings, "perIoDaemons" | "sharedMemory"> & { readonly allowVolatile: boolean },
): Misfit | undefined {
  return misfitOfPromises(disk, traits) ?? misfitOfFlags(disk, flags, traits, settings);
}

function misfitOfPromises(disk: DiskDescription, traits: BackendTraits): Misfit | undefined {
  const { sizeBytes, blockSize } = disk;
  if (traits.blockSize !== blockSize) {
    return no(`its blocks have ${blockSize} bytes, the backend's ${traits.blockSize}`, SAME);
  }
  if (traits.size < sizeBytes) {
    return no(`it has ${sizeBytes} bytes, the backend only ${traits.size}`, SAME);
  }
  if (traits.readOnly && !disk.readOnly) return no("it takes writes, the backend none", SAME);
  if (traits.flush && !disk.flush) {
    return no("it was made without flush, and the backend needs to be flushed", SAME);
  }
  const promises = {
    flush: disk.flush && !traits.flush,
    fua: disk.fua && !traits.fua,
    trim: disk.maxTrimBytes > 0 && !traits.trim,
    "write-zeroes": disk.maxWriteZeroesBytes > 0 && !traits.writeZeroes,
    "integrity metadata": disk.metadataSize > 0 && !traits.metadata,
  };
  const broken = Object.entries(promises).find(([, isBroken]) => isBroken);
  return broken && no(`it was made with ${broken[0]}, which the backend does not have`, SAME);
}

function misfitOfFlags(
  disk: DiskDescription,
  flags: number,
  traits: BackendTraits,
  settings: Parameters<typeof misfit>[3],
): Misfit | undefined {
  const path = pathOf(flags);
  if (path.includes("zero-copy") && !traits.ring) {
    return no(`its data path is "${path}", and the backend needs the bytes`, SAME);
  }
  if ((flags & UBLK_F_ZONED) !== 0 || disk.zoneBytes > 0) {
    return no(
      "it is zoned, and the kernel relies on write pointers that a new server does not know",
      "delete it, and make it again",
    );
  }
  if ((flags & UBLK_F_SHMEM_ZC) !== 0 && settings.sharedMemory === undefined) {
    return no("its clients may share memory with its server", "give the same sharedMemory");
  }
  if (settings.perIoDaemons && (flags & UBLK_F_PER_IO_DAEMON) === 0) {
    return no("its tags belong to one thread per queue", "leave perIoDaemons out");
  }
  if (!traits.persistent && !settings.allowVolatile) {
    return no(
      "the backend does not say that it is persistent: what was written would be gone",
      "use one that is, or allowVolatile if the contents do not matter",
    );
  }
  return undefined;
}

const SAME = "recover it with the backend that it was made with";

function no(reason: string, hint: string): Misfit {
  return { reason, hint };
}
