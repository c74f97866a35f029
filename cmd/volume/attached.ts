/**
 * Finds the server on this machine that has a volume attached.
 *
 * @module
 */

import { type DeviceRecord, isAlive, readRecords, volumeOf } from "../devices/records.ts";

/** The record of the living server that has a volume attached; undefined if none here has. */
export function attachedHere(name: string): DeviceRecord | undefined {
  return readRecords().find((one) => volumeOf(one) === name && isAlive(one));
}
