/**
 * Samples of devices' work, requested from all servers at once.
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

/** One device at one time. */
export interface Sample {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The target; null if no record names it. */
  readonly target: string | null;
  /** Its server's counters; null if the server does not answer. */
  readonly stats: ServerStats | null;
  /** The reason for missing counters; null if the server answers. */
  readonly reason: string | null;
  /** Requests in flight in the kernel; null if unknown. */
  readonly inFlight: InFlight | null;
}

/**
 * Samples the named devices, or all. A device that is not there is left out.
 *
 * @param named Their ids; an empty list for all.
 * @param limitMs Time limit for a server's answer.
 * @throws {UblkError} `DEVICE_NOT_FOUND` if none of the named devices is there; `MODULE_MISSING` if
 *   that is because the driver is not loaded.
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

/**
 * Checks that the driver is loaded: counters come from files and sockets, whose absence is not an
 * error.
 */
function checkDriver(): void {
  try {
    closeFd(openControlFd());
  } catch (error) {
    // A control device that this user may not open exists.
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

/** The reason why no server answers at a device's socket. */
export function silence(record: DeviceRecord | undefined): string {
  if (record === undefined) {
    return "its server tells nothing: it is another program's, or another user's, or has no record";
  }
  if (!isAlive(record)) return `its server, pid ${record.pid}, has died`;
  return `its server, pid ${record.pid}, has no control socket for us`;
}
