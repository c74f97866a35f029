/**
 * Checks the zones that a backend declares. Pure functions.
 *
 * @module
 */

import type { Backend } from "./backend.ts";

/** The driver works with pages, so a zone must be at least one page. */
const MIN_ZONE_BYTES = 4096;
/** The kernel counts a zone's 512-byte sectors in 32 bits, and requires a power of two. */
const MAX_ZONE_BYTES = 2 ** 40;

const METHODS = ["report", "open", "close", "finish", "append", "reset", "resetAll"] as const;

/** Whether a size in bytes is valid for zones. */
export function isZoneSize(bytes: number): boolean {
  return Number.isInteger(Math.log2(bytes)) && bytes >= MIN_ZONE_BYTES && bytes <= MAX_ZONE_BYTES;
}

/** The first fault of a backend's zones, in words; undefined if there is none. */
export function zonesFault(backend: Backend): string | undefined {
  const { zones, size } = backend;
  if (zones === undefined) return undefined;
  if (typeof zones !== "object" || zones === null) return "`zones` is not an object";
  for (const name of METHODS) {
    if (typeof zones[name] !== "function") return `\`zones.${name}\` is not a function`;
  }
  if (!isZoneSize(zones.size)) {
    return `zones of ${zones.size} bytes are not a power of two from ${MIN_ZONE_BYTES} to 2^40`;
  }
  if (size % zones.size !== 0) {
    return `size ${size} is not a multiple of its zones' ${zones.size} bytes`;
  }
  return limitsFault(zones.maxOpen ?? 0, zones.maxActive ?? 0, size / zones.size) ??
    (backend.resize === undefined ? undefined : "zones do not go together with `resize`");
}

/**
 * Limits that the driver or the block layer would refuse (`ublk_dev_param_zoned_validate`), in
 * words.
 */
export function limitsFault(
  maxOpen: number,
  maxActive: number,
  count: number,
): string | undefined {
  for (const [what, most] of [["open", maxOpen], ["active", maxActive]] as const) {
    if (!Number.isInteger(most) || most < 0 || most > count) {
      return `at most ${most} ${what} zones are not possible with ${count} zones`;
    }
  }
  if (maxActive > 0 && maxOpen > maxActive) {
    return `at most ${maxOpen} open zones are more than the ${maxActive} active ones`;
  }
  return undefined;
}
