/**
 * `ublk add --resume`: goes on with what a server before has left of a device.
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

/** How long the kernel gets to notice that a server has ended, in milliseconds. */
const GONE_MS = 15_000;
const LOOK_MS = 20;
/** The node of a device that is there is there. */
const NODE_MS = 2_000;

/**
 * Whether a device waits to be recovered. What is left of one that cannot be is deleted, so that its
 * number is free.
 *
 * @throws {UblkError} `DEVICE_BUSY` where its server is alive, and what control commands throw.
 */
export async function isWaiting(id: number, signal: AbortSignal): Promise<boolean> {
  await using control = await Control.open({ signal });
  const startMs = performance.now();
  while (true) {
    const info = await infoOf(control, id, signal);
    if (info === undefined) return false;
    const waitedMs = performance.now() - startMs;
    if (info.state === UBLK_S_DEV_DEAD) {
      // 0: somebody makes it, and has yet to name a server; or was killed before.
      if (info.ublksrv_pid !== 0 || waitedMs > NODE_MS) {
        await deleteDead(control, id, signal);
        return false;
      }
    } else {
      // Whatever there is to wait for, or to refuse, recover() knows.
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

/** Deletes a device that is stopped, or was never started. */
async function deleteDead(control: Control, id: number, signal: AbortSignal): Promise<void> {
  try {
    // A server that has only just made it has this open: one may, and the other is refused.
    closeFd(await openCharDevice(id, NODE_MS, signal));
  } catch (error) {
    // It was deleted before, which it does no harm to do again; or nobody makes nodes here.
    if (!(error instanceof UblkError) || error.code !== "NODE_MISSING") throw error;
  }
  const taken = await deleteDevice(control, id);
  if (await infoOf(control, id, signal) === undefined) return;
  // A number is taken until the last one has closed what had it.
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
