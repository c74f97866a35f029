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

/** Time a server has to release its stopped device by itself, in milliseconds. */
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

/**
 * `ublk del`: deletes the named devices or all. A failure for one device does not affect the
 * others.
 */
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
      // Its server has removed it in the meantime.
      if (error.code === "DEVICE_NOT_FOUND") continue;
      // "All" means all of this user's devices. Other users' devices are not deleted or mentioned.
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
 * Stops the device, waits until the server releases it, and deletes what remains. `DEL_DEV` alone
 * would do all of this, but while holding the driver's one global lock: a device that does not stop
 * would block all others. So if stopping fails, go no further.
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
    // Only its record is left.
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
  // The record could not be written, but a log may exist.
  else if (!pathExists(charPath(id))) removeRecord(id);
}

/**
 * Resolves once the record is gone. A living server removes it shortly after its device. It must
 * not be visible any more when this command ends.
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
 * Waits until the server of a stopped device has released it, and returns whether the device still
 * exists. A server of this project deletes the device itself, and another user may then get the
 * number at once: a blind `DEL_DEV` would hit their device.
 */
async function isLeft(
  control: Control,
  id: number,
  server: { pid: number; startTicks: number | undefined },
): Promise<boolean> {
  const endMs = performance.now() + LET_GO_MS;
  while (true) {
    // Check this first: whatever the server did before it ended is then visible below.
    const gone = server.startTicks === undefined || startTicksOf(server.pid) !== server.startTicks;
    try {
      const { state, ublksrv_pid: pid } = await control.getDevInfo(id);
      // -1: the device has no server any more. 0: no server yet, so another process is making a new
      // device.
      if (state === UBLK_S_DEV_LIVE || pid !== -1 && pid !== server.pid) return false;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
    if (gone || performance.now() > endMs) return true;
    await sleep(LOOK_MS);
  }
}

/** Removes the record of a server that is gone. A living server removes its own. */
function forget(record: DeviceRecord): boolean {
  if (isAlive(record)) return false;
  removeRecord(record.id, record.pid);
  return true;
}
