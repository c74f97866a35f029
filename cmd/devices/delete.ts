/**
 * `ublk del` and `ublk stop`.
 *
 * @module
 */

import { Control } from "../../ctrl/control.ts";
import { deleteDevice, ignoreMissing } from "../../device/delete.ts";
import { tryStopDevice } from "../../device/stop.ts";
import { UblkError } from "../../uapi/error.ts";
import { UBLK_S_DEV_LIVE, type ublksrv_ctrl_dev_info } from "../../uapi/ublk_cmd.ts";
import { charPath } from "../../device/node.ts";
import { pathExists } from "../../uring/libc.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import type { DEL_FLAGS, STOP_FLAGS } from "../line/command_flags.ts";
import { usageError, type Values } from "../line/flags.ts";
import { deviceIds } from "./ids.ts";
import { writeError } from "../program/print.ts";
import {
  type DeviceRecord,
  isAlive,
  readRecord,
  readRecords,
  removeRecord,
  removeStartLogs,
  startTicksOf,
  sweepRunFolder,
} from "./records.ts";
import { type ErrorLog, EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { withEach } from "./several.ts";
import { stopUnused } from "./unused.ts";

/** How long a server gets to let go of its stopped device by itself, in milliseconds. */
const LET_GO_MS = 5_000;
const LOOK_MS = 10;

/** `ublk stop`. */
export async function stop(
  { id: ids, safe, force }: Values<typeof STOP_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  if (safe && force) throw usageError("--force", "it does not go with --safe", "choose one");
  await using control = await Control.open();
  return await withEach(ids, log, async (id) => {
    if (safe) await tryStopDevice(control, id);
    else if (force) await control.stopDev(id);
    else await stopUnused("stop", control, await control.getDevInfo(id));
  });
}

/** `ublk del`: devices, or all; one that does not go does not hold up the others. */
export async function del(
  { id: ids, all, async, force }: Values<typeof DEL_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  if ((ids.length === 0) !== all) {
    const remedy = "give its number, or /dev/ublkbN, or -a for all of them";
    throw usageError("ublk del", "it needs either a device or -a", remedy);
  }
  await using control = await Control.open();
  if (!all) return await withEach(ids, log, (id) => deleteOne(control, id, { async, force }));
  let status = EXIT_OK;
  const recorded = readRecords().filter((record) => !isAlive(record)).map((record) => record.id);
  for (const one of new Set([...await deviceIds(), ...recorded])) {
    try {
      await deleteOne(control, one, { async, force });
    } catch (error) {
      if (!(error instanceof UblkError)) throw error;
      // Its server removed it meanwhile.
      if (error.code === "DEVICE_NOT_FOUND") continue;
      // "All" are all of this user's: others are not his to delete, nor to hear of.
      if (error.code === "PERMISSION_DENIED" && !hasAdminRights()) continue;
      log.error(error.message);
      status = EXIT_FAILURE;
    }
  }
  removeStartLogs();
  sweepRunFolder();
  return status;
}

/**
 * Stops, waits until the server has let go, and deletes what is left. `DEL_DEV` alone would do all
 * of it, but with the driver's one global lock held: a device that does not stop would take all
 * others with it. So a failed stop is the end of it.
 */
async function deleteOne(
  control: Control,
  id: number,
  { async, force }: { async: boolean; force: boolean },
): Promise<void> {
  const record = readRecord(id);
  let info: ublksrv_ctrl_dev_info;
  try {
    info = await control.getDevInfo(id);
  } catch (error) {
    // Nothing is left of it but its record.
    if (isMissing(error) && record !== undefined && forget(record)) return;
    if (isMissing(error)) sweepRunFolder();
    throw error;
  }
  const server = { pid: info.ublksrv_pid, startTicks: startTicksOf(info.ublksrv_pid) };
  if (force) await control.stopDev(id);
  else await stopUnused("del", control, info);
  if (await isLeft(control, id, server)) {
    if (async) {
      await ignoreMissing(control.delDev(id, { async }));
    } else {
      const taken = await deleteDevice(control, id);
      if (taken !== undefined) writeError(`ublk: warning: ${taken}`);
    }
  }
  if (record !== undefined) await forgotten(record);
  // Its record could not be written, but its log was made.
  else if (!pathExists(charPath(id))) removeRecord(id);
}

/**
 * Resolves once the record is gone. A living server removes it a moment after its device; whoever
 * looks after this command has ended shall not find it any more.
 */
async function forgotten(record: DeviceRecord): Promise<void> {
  const endMs = performance.now() + LET_GO_MS;
  while (readRecord(record.id)?.pid === record.pid && !forget(record)) {
    if (performance.now() > endMs) return;
    await sleep(LOOK_MS);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function isMissing(error: unknown): boolean {
  return error instanceof UblkError && error.code === "DEVICE_NOT_FOUND";
}

/**
 * Waits until the server of a stopped device has let go of it, and says whether the device is left.
 * A server of this project deletes it itself, and then the number may be somebody else's at once:
 * a `DEL_DEV` sent blindly would hit him.
 */
async function isLeft(
  control: Control,
  id: number,
  server: { pid: number; startTicks: number | undefined },
): Promise<boolean> {
  const endMs = performance.now() + LET_GO_MS;
  while (true) {
    // In this order: what it did before it went, it did.
    const gone = server.startTicks === undefined || startTicksOf(server.pid) !== server.startTicks;
    try {
      const { state, ublksrv_pid: pid } = await control.getDevInfo(id);
      // -1: nobody serves it any more. 0: nobody does yet, so that it is another's who makes it.
      if (state === UBLK_S_DEV_LIVE || pid !== -1 && pid !== server.pid) return false;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
    if (gone || performance.now() > endMs) return true;
    await sleep(LOOK_MS);
  }
}

/** Removes the record of a server that is gone; a living one removes its own. */
function forget(record: DeviceRecord): boolean {
  if (isAlive(record)) return false;
  removeRecord(record.id, record.pid);
  return true;
}
