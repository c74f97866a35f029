/**
 * The zones of a device as kernel parameters.
 *
 * @module
 */

import { invalidIn } from "../uapi/error.ts";
import type { ublk_param_zoned } from "../uapi/ublk_params.ts";

const invalid = invalidIn("SET_PARAMS");

const SECTOR_BYTES = 512;

/** The zones of a disk. */
export interface ZonedTraits {
  /** Bytes per zone: a power of two of sectors. Becomes the device's `chunk_sectors`. */
  readonly size: number;
  /** The maximum number of open zones; 0 for no limit. */
  readonly maxOpen: number;
  /** The maximum number of zones that are open or closed; 0 for no limit. */
  readonly maxActive: number;
}

/** Converts zones to device parameters; all zero without zones. */
export function zonedParams(zones: ZonedTraits | undefined, maxIoBytes: number): ublk_param_zoned {
  return {
    max_open_zones: zones?.maxOpen ?? 0,
    max_active_zones: zones?.maxActive ?? 0,
    // An append stays in one zone and is one request.
    max_zone_append_sectors: zones === undefined
      ? 0
      : Math.min(maxIoBytes, zones.size) / SECTOR_BYTES,
    reserved: new Uint8Array(20),
  };
}

/**
 * Checks zones as `ublk_validate_params`, `ublk_dev_param_zoned_validate` and
 * `blk_validate_zoned_limits` do, but with a clear error.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function checkZones({ size, maxOpen, maxActive }: ZonedTraits, sizeBytes: number): void {
  // The kernel counts a zone's sectors in 32 bits.
  if (!Number.isInteger(Math.log2(size)) || size < SECTOR_BYTES || size > 2 ** 40) {
    throw invalid(`zones of ${size} bytes are not possible`, "use a power of two up to 2^40");
  }
  if (sizeBytes % size !== 0) {
    throw invalid(`size ${sizeBytes} is not whole zones of ${size} bytes`, "use a multiple");
  }
  const count = sizeBytes / size;
  for (const [what, most] of [["open", maxOpen], ["active", maxActive]] as const) {
    if (Number.isInteger(most) && most >= 0 && most <= count) continue;
    throw invalid(`${most} ${what} zones of ${count} are not possible`, `use 0 to ${count}`);
  }
  if (maxActive === 0 || maxOpen <= maxActive) return;
  throw invalid(
    `${maxOpen} open zones are more than the ${maxActive} active ones`,
    "let as many be active, since an open zone is active",
  );
}
