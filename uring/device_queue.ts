/**
 * The queue of a block device, as sysfs tells of it.
 *
 * @module
 */

import { smallText } from "./file.ts";

/** Where the kernel tells of each block device. */
const DEVICES = "/sys/dev/block";

/**
 * The folder of a device's queue, by its `major:minor`. A partition uses its disk's.
 *
 * @param devices The folder of all devices.
 */
export function queueFolder(device: string, devices = DEVICES): string {
  const own = `${devices}/${device}`;
  return smallText(`${own}/partition`) === undefined ? `${own}/queue` : `${own}/../queue`;
}

/**
 * Whether a device, by `major:minor`, makes a write durable without flushing its cache: it has no
 * volatile one, or it has FUA. False if it is no block device.
 *
 * @param devices The folder of all devices.
 */
export function hasCheapDurability(device: string, devices?: string): boolean {
  const queue = queueFolder(device, devices);
  switch (smallText(`${queue}/write_cache`)?.trim()) {
    case "write through":
      return true;
    case "write back":
      return smallText(`${queue}/fua`)?.trim() === "1";
    default:
      return false;
  }
}
