/**
 * `ublk add --resume`: continues a device that a previous server left.
 *
 * @module
 */

import { Control } from "../../ctrl/control.ts";
import { checkAborted } from "../../device/abort.ts";
import { deleteDevice } from "../../device/delete.ts";
import { openCharDevice } from "../../device/node.ts";
import { recoveryOf } from "../../device/recovery_mode.ts";
import { UblkError } from "../../uapi/error.ts";
import { UBLK_S_DEV_DEAD, type ublksrv_ctrl_dev_info } from "../../uapi/ublk_cmd.ts";
import { closeFd } from "../../uring/libc.ts";
import { startTicksOf } from "../devices/records.ts";

/** Time the kernel has to notice that a server has ended, in milliseconds. */
const GONE_MS = 15_000;
const LOOK_MS = 20;
/** Time to wait for the node of an existing device, or for its first server, in milliseconds. */
const NODE_MS = 2_000;

/**
 * Whether a device waits to be recovered. The remains of a device that cannot be recovered are
 * deleted, so that its number is free.
 *
 * @throws {UblkError} `DEVICE_BUSY` if its server is alive, and the errors of control commands.
 */
export async function isWaiting(id: number, signal: AbortSignal): Promise<boolean> {
  await using control = await Control.open({ signal });
  const startMs = performance.now();
  while (true) {
    const info = await infoOf(control, id, signal);
    if (info === undefined) return false;
    const waitedMs = performance.now() - startMs;
    if (info.state === UBLK_S_DEV_DEAD) {
      // 0: another process is making it and has not named a server yet, or was killed before that.
      if (info.ublksrv_pid !== 0 || waitedMs > NODE_MS) {
        await deleteDead(control, id, signal);
        return false;
      }
    } else {
      // recover() does the remaining waiting and refusing.
      if (recoveryOf(info.flags) !== undefined) return true;
      const pid = info.ublksrv_pid;
      if (startTicksOf(pid) !== undefined) {
        throw busy(id, `its server, process ${pid}, is alive`, `end it first: ublk del -n ${id}`);
      }
      if (waitedMs > GONE_MS) {
        throw busy(id, `the kernel has not let go of its server, process ${pid}`, "try again");
      }
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    checkAborted(signal);
  }
}

/** Deletes a device that is stopped or was never started. */
async function deleteDead(control: Control, id: number, signal: AbortSignal): Promise<void> {
  try {
    // The server of a brand-new device has this node open. Only one process may open it, and this
    // call is then refused.
    closeFd(await openCharDevice(id, NODE_MS, signal));
  } catch (error) {
    // The device was already deleted, and deleting it again is harmless; or this machine makes no
    // nodes.
    if (!(error instanceof UblkError) || error.code !== "NODE_MISSING") throw error;
  }
  const taken = await deleteDevice(control, id);
  if (await infoOf(control, id, signal) === undefined) return;
  // A number stays in use until the last user of the old device closes it.
  const reason = taken ?? "it is deleted, and somebody still has its disk open";
  throw busy(id, reason, "unmount it, or choose another number");
}

async function infoOf(
  control: Control,
  id: number,
  signal: AbortSignal,
): Promise<ublksrv_ctrl_dev_info | undefined> {
  try {
    return await control.getDevInfo(id, { signal });
  } catch (error) {
    if (error instanceof UblkError && error.code === "DEVICE_NOT_FOUND") return undefined;
    throw error;
  }
}

function busy(device: number, reason: string, hint: string): UblkError {
  return new UblkError("DEVICE_BUSY", { operation: "resume", device, reason, hint });
}
