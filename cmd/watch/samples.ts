/**
 * What the servers of devices tell of their work, all asked at once.
 *
 * @module
 */

import { openControlFd } from "../../ctrl/node.ts";
import { diskInFlight, type InFlight } from "../../device/in_flight.ts";
import { charPath } from "../../device/node.ts";
import { UblkError } from "../../uapi/error.ts";
import { closeFd, pathExists } from "../../uring/libc.ts";
import { askServer, isServerStats } from "../devices/ask.ts";
import { deviceIds } from "../devices/ids.ts";
import { type DeviceRecord, isAlive, readRecord } from "../devices/records.ts";
import type { ServerStats } from "../devices/socket.ts";

/** One device at one moment. */
export interface Sample {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** What is served; null if no record says. */
  readonly target: string | null;
  /** What its server has done; null if it does not tell. */
  readonly stats: ServerStats | null;
  /** Why it does not tell; null if it does. */
  readonly reason: string | null;
  /** Requests that the kernel waits for; null if it does not tell. */
  readonly inFlight: InFlight | null;
}

/**
 * Asks about devices, or about all. One that is not there is left out, but for the only one.
 *
 * @param named Their ids; none for all.
 * @param limitMs How long a server may take to answer.
 * @throws {UblkError} `DEVICE_NOT_FOUND` where there is none of those that were named;
 *   `MODULE_MISSING` where there is none because the driver is not here.
 */
export async function sampleDevices(
  named: readonly number[],
  limitMs: number,
): Promise<Sample[]> {
  const ids = named.length === 0 ? await deviceIds() : [...new Set(named)];
  const samples = await Promise.all(ids.map((one) => sampleDevice(one, limitMs)));
  const found = samples.filter((sample) => sample !== undefined);
  if (found.length === 0) checkDriver();
  if (found.length === 0 && named.length > 0) throw missingOf(named, found)[0];
  return found;
}

/** An error for each device that was named and is not there. */
export function missingOf(
  named: readonly number[],
  found: readonly Pick<Sample, "id">[],
): UblkError[] {
  const ids = new Set(found.map(({ id }) => id));
  return [...new Set(named)].filter((id) => !ids.has(id)).map((device) =>
    new UblkError("DEVICE_NOT_FOUND", {
      operation: "stats",
      device,
      reason: "there is no such device",
      hint: "see `ublk list`",
    })
  );
}

/** Counters are files and sockets: without the driver there are none of them, and no error either. */
function checkDriver(): void {
  try {
    closeFd(openControlFd());
  } catch (error) {
    // One that this user may not open is there.
    if (error instanceof UblkError && error.code === "MODULE_MISSING") throw error;
  }
}

async function sampleDevice(id: number, limitMs: number): Promise<Sample | undefined> {
  const record = readRecord(id);
  const told = await ask(id, record, limitMs);
  if (!pathExists(charPath(id))) return undefined;
  return { id, target: record?.target ?? null, inFlight: diskInFlight(id) ?? null, ...told };
}

type Told = Pick<Sample, "stats" | "reason">;

async function ask(id: number, record: DeviceRecord | undefined, limitMs: number): Promise<Told> {
  try {
    const answer = await askServer(id, { op: "stats" }, limitMs);
    if (answer === undefined) return { stats: null, reason: silence(record) };
    if (isServerStats(answer.ok)) return { stats: answer.ok, reason: null };
    return { stats: null, reason: "its server tells something else than counters" };
  } catch (error) {
    if (error instanceof UblkError) return { stats: null, reason: error.reason ?? error.message };
    throw error;
  }
}

/** Why nobody answers at a device's socket. */
export function silence(record: DeviceRecord | undefined): string {
  if (record === undefined) {
    return "its server tells nothing: it is another program's, or another user's, or has no record";
  }
  if (!isAlive(record)) return `its server, pid ${record.pid}, has died`;
  return `its server, pid ${record.pid}, has no control socket for us`;
}
