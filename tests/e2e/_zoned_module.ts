/**
 * Somebody's own zoned disk, as a module that answers with Promises, in a Worker or in the caller's
 * thread: the methods of `zoned()` a turn of the event loop later.
 *
 * @module
 */

import type { Backend } from "../../mod.ts";
import { open as openZoned } from "../../backends/zoned.ts";

/** Opens it with the options of `zoned()`. */
export function open(options: unknown): Backend {
  const disk = openZoned(options);
  const zones = disk.zones!;
  const later = <T>(run: () => T): Promise<Awaited<T>> =>
    new Promise((resolve) => setTimeout(resolve, 0)).then(run) as Promise<Awaited<T>>;
  return {
    size: disk.size,
    readAt: (buffer, offset) => later(() => disk.readAt(buffer, offset)),
    writeAt: (buffer, offset, how) => later(() => disk.writeAt(buffer, offset, how)),
    zones: {
      size: zones.size,
      maxOpen: zones.maxOpen,
      maxActive: zones.maxActive,
      report: (first, count) => later(() => zones.report(first, count)),
      open: (zone) => later(() => zones.open(zone)),
      close: (zone) => later(() => zones.close(zone)),
      finish: (zone) => later(() => zones.finish(zone)),
      append: (buffer, zone, how) => later(() => zones.append(buffer, zone, how)),
      reset: (zone) => later(() => zones.reset(zone)),
      resetAll: () => later(() => zones.resetAll()),
    },
    close: () => disk.close!(),
  };
}
