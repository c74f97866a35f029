/**
 * A zoned RAM disk: its zones must be written in order, except the conventional ones at the
 * beginning. It is for trying out software that is written for such disks.
 *
 * @module
 */

import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { Mapping, pageAlign } from "../uring/mapping.ts";
import type { Backend, ZoneMethods } from "../disk/backend.ts";
import { type Geometry, geometryOf, type GeometryOptions, type Size } from "../disk/geometry.ts";
import { checkFits } from "./memory.ts";
import { MemoryWindows } from "./memory_windows.ts";
import { parseSize } from "../disk/size.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { Target } from "../disk/target.ts";
import { type ZoneLayout, ZoneStates } from "./zone_states.ts";
import { isZoneSize, limitsFault } from "../disk/zones_fault.ts";

/** Options of {@linkcode zoned} beside the size. */
export interface ZonedOptions extends Omit<GeometryOptions, "size"> {
  /**
   * Size of a zone: a power of two, at least 4096 bytes.
   *
   * @default "4MiB"
   */
  readonly zoneSize?: Size;
  /**
   * Number of conventional zones, which are the first ones and accept writes anywhere.
   *
   * @default 0
   */
  readonly conventional?: number;
  /**
   * Maximum number of open zones; 0: no limit.
   *
   * @default 0
   */
  readonly maxOpen?: number;
  /**
   * Maximum number of zones that are open or closed; 0: no limit.
   *
   * @default 0
   */
  readonly maxActive?: number;
  /**
   * Allow a disk larger than the machine's memory. It fails only when it fills up.
   *
   * @default false
   */
  readonly overcommit?: boolean;
}

interface StoredOptions extends Geometry, Omit<ZoneLayout, "count" | "size"> {
  readonly zoneSize: number;
  readonly overcommit: boolean;
}

/**
 * A zoned RAM disk.
 *
 * @param size Bytes, or a text such as `"1GiB"`: whole zones.
 * @throws {RangeError} If the size, the zones or their limits are not possible.
 *
 * @example Two conventional zones, and at most four open zones
 * ```ts
 * import { zoned } from "@ublk/ublk";
 * import { assertEquals } from "@std/assert";
 *
 * const disk = zoned("256MiB", { zoneSize: "4MiB", conventional: 2, maxOpen: 4 });
 * assertEquals(disk.options, {
 *   size: 256 << 20,
 *   blockSize: 512,
 *   readOnly: false,
 *   zoneSize: 4 << 20,
 *   conventional: 2,
 *   maxOpen: 4,
 *   maxActive: 0,
 *   overcommit: false,
 * });
 * ```
 */
export function zoned(size: Size, options: ZonedOptions = {}): BackendSpec {
  const { zoneSize: zoneBytes = 4 << 20, overcommit = false, ...rest } = options;
  const { conventional = 0, maxOpen = 0, maxActive = 0, ...geometry } = rest;
  const zoneSize = typeof zoneBytes === "string" ? parseSize(zoneBytes) : zoneBytes;
  const stored: StoredOptions = {
    ...geometryOf({ size, ...geometry }),
    ...{ zoneSize, conventional, maxOpen, maxActive, overcommit },
  };
  checkZones(stored);
  return { module: import.meta.url, options: stored };
}

function checkZones({ size, zoneSize, conventional, maxOpen, maxActive }: StoredOptions): void {
  if (!isZoneSize(zoneSize)) {
    throw new RangeError(`zoneSize ${zoneSize} is not a power of two from 4096 to 2^40`);
  }
  if (size % zoneSize !== 0) {
    const whole = Math.ceil(size / zoneSize) * zoneSize;
    throw new RangeError(`size ${size} is not whole zones of ${zoneSize} bytes; ${whole} is`);
  }
  const count = size / zoneSize;
  // The block layer accepts no zoned disk without a sequential zone.
  if (!Number.isInteger(conventional) || conventional < 0 || conventional >= count) {
    throw new RangeError(`${conventional} conventional zones of ${count} are not possible`);
  }
  const fault = limitsFault(maxOpen, maxActive, count);
  if (fault !== undefined) throw new RangeError(`${fault}; give less, or 0 for no limit`);
}

/** Opens the disk in the thread that serves all queues; only it knows the write pointers. */
export function open(options: unknown): Backend {
  const { size, blockSize, readOnly, overcommit, zoneSize, ...zones } = options as StoredOptions;
  if (!overcommit) checkFits(size);
  const mapping = Mapping.anonymous(pageAlign(size));
  const windows = new MemoryWindows(mapping.address, size);
  const states = new ZoneStates({ count: size / zoneSize, size: zoneSize, ...zones });
  return {
    ...{ size, blockSize, readOnly, synchronous: true },
    // Bytes behind a write pointer were never written, or were reset: they are zero.
    readAt: (buffer, offset) => windows.copy(offset, buffer, false),
    writeAt(buffer, offset) {
      const zone = Math.floor(offset / zoneSize);
      const at = offset % zoneSize;
      // The block layer splits requests at the borders of zones.
      if (at + buffer.length > zoneSize) throw acrossError(zone);
      if (!states.isConventional(zone)) states.write(zone, at, buffer.length);
      windows.copy(offset, buffer, true);
    },
    zones: zoneMethods(states, windows, { ...zones, count: size / zoneSize, size: zoneSize }),
    close: () => mapping[Symbol.dispose](),
  };
}

function zoneMethods(
  states: ZoneStates,
  windows: MemoryWindows,
  { count, size, conventional, maxOpen, maxActive }: ZoneLayout,
): ZoneMethods {
  const reset = (zone: number) => {
    if (states.reset(zone)) windows.zero(zone * size, size);
  };
  return {
    ...{ size, maxOpen, maxActive },
    report: (first, count) =>
      Array.from({ length: count }, (_, index) => states.zone(first + index)),
    open: (zone) => states.open(zone),
    close: (zone) => states.close(zone),
    finish: (zone) => states.finish(zone),
    append(buffer, zone) {
      const written = states.written(zone);
      states.write(zone, written, buffer.length);
      windows.copy(zone * size + written, buffer, true);
      return zone * size + written;
    },
    reset,
    resetAll() {
      for (let zone = conventional; zone < count; zone++) reset(zone);
    },
  };
}

function acrossError(zone: number): UblkError {
  return new UblkError("SYSCALL_FAILED", {
    operation: `zone ${zone}`,
    reason: "written beyond its end",
    errno: EIO,
  });
}

/** `zoned` on a command line. */
export const target: Target = {
  name: "zoned",
  summary: "a RAM disk with zones that must be written in order",
  persistent: false,
  files: { min: 0, max: 0 },
  options: [
    { name: "size", kind: "size", help: "The disk's size. Default: 256MiB." },
    { name: "zone-size", kind: "size", help: "The size of a zone. Default: 4MiB." },
    {
      name: "conventional",
      kind: "integer",
      help: "The number of conventional zones, at the start. Default: 0.",
    },
    { name: "max-open", kind: "integer", help: "The most open zones. Default: 0, no limit." },
    {
      name: "max-active",
      kind: "integer",
      help: "The most zones that are open or closed. Default: 0, no limit.",
    },
    { name: "overcommit", kind: "switch", help: "Allow more than the machine's memory." },
  ],
  spec: ({ size = 2 ** 28, ...values }) =>
    zoned(size as number, {
      zoneSize: values["zone-size"] as number | undefined,
      conventional: values.conventional as number | undefined,
      maxOpen: values["max-open"] as number | undefined,
      maxActive: values["max-active"] as number | undefined,
      overcommit: values.overcommit === true,
      blockSize: values["block-size"],
      readOnly: values["read-only"],
    }),
};
