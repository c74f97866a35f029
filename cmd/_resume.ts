/**
 * `ublk add --resume`: goes on with what a server before has left of a device.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import { checkAborted } from "../device/abort.ts";
import { deleteDevice } from "../device/delete.ts";
import { openCharDevice } from "../device/node.ts";
import { recoveryOf } from "../device/recovery_mode.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_S_DEV_DEAD, type ublksrv_ctrl_dev_info } from "../uapi/ublk_cmd.ts";
import { closeFd } from "../uring/libc.ts";
import { startTicksOf } from "./_records.ts";

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
  const endMs = performance.now() + GONE_MS;
  while (true) {
    const info = await infoOf(control, id, signal);
    if (info === undefined) return false;
    if (info.state === UBLK_S_DEV_DEAD) {
      // A server that has only just made it has this open, or is about to.
      closeFd(await openCharDevice(id, NODE_MS, signal));
      await deleteDevice(control, id);
      return false;
    }
    // Whatever there is to wait for, or to refuse, recover() knows.
    if (recoveryOf(info.flags) !== undefined) return true;
    const alive = startTicksOf(info.ublksrv_pid) !== undefined;
    if (alive || performance.now() > endMs) throw busyError(id, info.ublksrv_pid, alive);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    checkAborted(signal);
  }
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

function busyError(device: number, pid: number, alive: boolean): UblkError {
  return new UblkError("DEVICE_BUSY", {
    operation: "resume",
    device,
    reason: alive
      ? `its server, process ${pid}, is alive`
      : `the kernel has not let go of its server, process ${pid}`,
    hint: alive ? `end it first: ublk del -n ${device}` : "try again",
  });
}
