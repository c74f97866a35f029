/**
 * Finds the servers on this machine that serve a volume.
 *
 * @module
 */

import {
  type DeviceRecord,
  isAlive,
  onlyReads,
  readRecords,
  volumeOf,
} from "../devices/records.ts";

/** The record of the living server that writes a volume; undefined if none here does. */
export function writerHere(name: string): DeviceRecord | undefined {
  return serversHere(name).find((one) => !onlyReads(one));
}

/** The record of the living server of a volume, its writer first; undefined if none here serves it. */
export function attachedHere(name: string): DeviceRecord | undefined {
  return writerHere(name) ?? serversHere(name)[0];
}

function serversHere(name: string): DeviceRecord[] {
  return readRecords().filter((one) => volumeOf(one) === name && isAlive(one));
}
