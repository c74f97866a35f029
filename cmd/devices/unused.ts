/**
 * Stopping a disk that is not in use. Its users would lose unwritten data, so a disk that is
 * mounted, held by another device or used for swap is left alone, and its users are named. A
 * process that merely has it open is named but does not prevent stopping: kublk's scripts delete
 * disks under a running fio.
 *
 * @module
 */

import type { Control } from "../../ctrl/control.ts";
import { blockPath } from "../../device/node.ts";
import { type DiskUser, diskUsers, usersText, withoutServer } from "../../device/users.ts";
import { UblkError } from "../../uapi/error.ts";
import { UBLK_F_SAFE_STOP_DEV } from "../../uapi/features.ts";
import {
  UBLK_S_DEV_LIVE,
  UBLK_S_DEV_QUIESCED,
  type ublksrv_ctrl_dev_info,
} from "../../uapi/ublk_cmd.ts";
import { writeError } from "../program/print.ts";

/**
 * Time for which a disk may be open without a visible user, in milliseconds. Programs that examine
 * every new or changed disk open it briefly.
 */
const OPEN_MS = 2_000;
/**
 * Looks at the least. On a busy machine one takes seconds: a program that opened the disk between the
 * only look and the kernel's check was taken for a user that no file shows.
 */
const LEAST_LOOKS = 3;
const LOOK_MS = 100;

/** The command to name in the error. */
type Operation = "stop" | "del";

/**
 * Stops a device if its disk is not in use.
 *
 * @throws {UblkError} `DEVICE_BUSY` with the users: at once if the disk is mounted, held by another
 *   device or used for swap; after a short while if the kernel has a user that no file shows.
 */
export async function stopUnused(
  operation: Operation,
  control: Control,
  info: ublksrv_ctrl_dev_info,
): Promise<void> {
  const { dev_id: id, state } = info;
  const endMs = performance.now() + OPEN_MS;
  const canTry = state === UBLK_S_DEV_LIVE && (control.features & UBLK_F_SAFE_STOP_DEV) !== 0;
  for (let looks = 1;; looks++) {
    const users = withoutServer(await diskUsers(id));
    if (users.some(({ kind }) => kind !== "process")) {
      throw inUse(operation, id, users, state === UBLK_S_DEV_QUIESCED);
    }
    if (users.length > 0 || !canTry) {
      if (users.length > 0) {
        writeError(`ublk: warning: ${blockPath(id)} is ${usersText(users)}; it goes all the same`);
      }
      return await control.stopDev(id);
    }
    // The kernel checks and stops in one step, and knows users that no file shows.
    if (await stoppedByKernel(control, id)) return;
    if (looks >= LEAST_LOOKS && performance.now() >= endMs) throw unknownUser(operation, id);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Returns false if the disk is open. */
async function stoppedByKernel(control: Control, id: number): Promise<boolean> {
  try {
    await control.tryStopDev(id);
  } catch (error) {
    if (!(error instanceof UblkError)) throw error;
    if (error.code === "DEVICE_BUSY") return false;
    // The driver does not offer it for unprivileged devices.
    if (error.code === "KERNEL_TOO_OLD") await control.stopDev(id);
    // Another process has deleted it in the meantime.
    else if (error.code !== "DEVICE_NOT_FOUND") throw error;
  }
  return true;
}

/** The error of a disk in use. */
export function inUse(
  operation: Operation,
  id: number,
  users: readonly DiskUser[],
  waitsForServer: boolean,
): UblkError {
  // Without a server nothing can be unmounted, because unmounting writes.
  const remedy = waitsForServer ? `recover it first (ublk recover -n ${id})` : users[0].remedy;
  return new UblkError("DEVICE_BUSY", {
    operation,
    device: id,
    reason: `${blockPath(id)} is ${usersText(users)}`,
    hint: `${remedy}; or lose what is not written: ${byForce(operation, id)}`,
  });
}

function unknownUser(operation: Operation, id: number): UblkError {
  return new UblkError("DEVICE_BUSY", {
    operation,
    device: id,
    reason: `the kernel has ${
      blockPath(id)
    } in use, and no process that this user sees has it open`,
    hint: `look among other users, containers and kernel targets; or ${byForce(operation, id)}`,
  });
}

function byForce(operation: Operation, id: number): string {
  return `ublk ${operation} --force -n ${id}`;
}
