/**
 * Finds the servers on this machine that serve a volume. A name alone is not enough: another store
 * may have a volume of that name too.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { defaultStore } from "../../volume/folders.ts";
import { storeOfValues } from "../../volume/s3_options.ts";
import {
  type DeviceRecord,
  isAlive,
  onlyReads,
  readRecords,
  volumeOf,
} from "../devices/records.ts";
import { isSameStore } from "./same_store.ts";

/** The records of the living servers of all volumes of a name, those that write first. */
export function serversHere(name: string): readonly DeviceRecord[] {
  const here = readRecords().filter((one) => volumeOf(one) === name && isAlive(one));
  return here.toSorted((one, other) => Number(onlyReads(one)) - Number(onlyReads(other)));
}

/**
 * Chooses the server of a volume, its writer first.
 *
 * @param operation For errors.
 * @param servers Those of all volumes of its name.
 * @param store Its store; undefined for the one of all servers.
 * @returns Undefined if none serves it.
 * @throws {UblkError} `INVALID_ARGUMENT` if they serve several volumes.
 */
export function serverOf(
  operation: string,
  servers: readonly DeviceRecord[],
  store: string | undefined,
): DeviceRecord | undefined {
  if (store !== undefined) return servers.find((one) => isSameStore(storeOf(one), store));
  const [first] = servers;
  const other = servers.find((one) => !isSameStore(storeOf(one), storeOf(first)));
  if (other === undefined) return first;
  throw new UblkError("INVALID_ARGUMENT", {
    operation,
    reason: `volumes of that name in ${storeOf(first)} and in ${storeOf(other)} are attached here`,
    hint: "say which one, with --store",
  });
}

/**
 * The server that writes a volume and is to change it.
 *
 * @param servers Those of all volumes of its name.
 * @param store Its store; undefined for the default one.
 * @returns Undefined if none here has it attached.
 * @throws {UblkError} `INVALID_ARGUMENT` if only volumes of other stores are attached, and no store
 *   was named: the caller may mean one of these.
 */
export function writerOf(
  operation: string,
  servers: readonly DeviceRecord[],
  store: string | undefined,
): DeviceRecord | undefined {
  const writers = servers.filter((one) => !onlyReads(one));
  const found = serverOf(operation, writers, store ?? defaultStore());
  if (found !== undefined || store !== undefined || writers.length === 0) return found;
  throw new UblkError("INVALID_ARGUMENT", {
    operation,
    reason: `the volume of that name that is attached here is in ${storeOf(writers[0])}`,
    hint: "say which one, with --store",
  });
}

/** The store of a server's volume. */
export function storeOf(record: DeviceRecord): string {
  const values = record.version === undefined ? {} : record.request.values;
  return storeOfValues(values) ?? defaultStore();
}
