/**
 * Deletes a device that others may be using, or deleting at the same time.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_S_DEV_DEAD } from "../uapi/ublk_cmd.ts";
import { pathExists } from "../uring/libc.ts";
import { blockPath, charPath } from "./node.ts";
import { diskUsers, usersText } from "./users.ts";

/** Time DEL_DEV may wait for processes that have the disk open, in milliseconds. */
const DELETE_MS = 2_000;

/**
 * Deletes a device from the kernel. DEL_DEV takes effect at once, but then waits until the disk's
 * last user, such as a mounted filesystem, is gone. We do not wait for that.
 *
 * @returns A sentence saying why the id stays taken; undefined if it is free.
 */
export async function deleteDevice(control: Control, id: number): Promise<string | undefined> {
  const enough = new AbortController();
  const { signal } = enough;
  // With many devices at once, DEL_DEV may wait long for its turn. A slow answer alone does not mean
  // that the disk has users.
  const timer = setInterval(() => {
    isDeleted(control, id).then((isSo) => isSo && enough.abort(), () => {});
  }, DELETE_MS);
  try {
    await ignoreMissing(control.delDev(id, { timeoutMs: DELETE_MS, paced: true, signal }));
  } catch (error) {
    const isLate = error instanceof UblkError && error.code === "CONTROL_TIMEOUT";
    if (!isLate && !signal.aborted) throw error;
    if (!await isDeleted(control, id)) throw error;
    const users = await usersOf(id);
    const until = users === ""
      ? "its last user closes it"
      : `nobody uses it any more: it is ${users}`;
    return `${blockPath(id)} is deleted; its id stays taken until ${until}`;
  } finally {
    clearInterval(timer);
  }
}

async function usersOf(id: number): Promise<string> {
  try {
    return usersText(await diskUsers(id));
  } catch {
    // Without permission to run a shell, no user can be named.
    return "";
  }
}

/**
 * Whether only the id is left. The kernel keeps the id until the last user has closed the disk, but
 * the device is dead and its nodes are gone.
 */
async function isDeleted(control: Control, id: number): Promise<boolean> {
  if (pathExists(charPath(id))) return false;
  try {
    return (await control.getDevInfo(id)).state === UBLK_S_DEV_DEAD;
  } catch (error) {
    if (error instanceof UblkError && error.code === "DEVICE_NOT_FOUND") return true;
    throw error;
  }
}

/** Treats a device that somebody else has deleted meanwhile as deleted. */
export async function ignoreMissing(command: Promise<void>): Promise<void> {
  try {
    await command;
  } catch (error) {
    if (!(error instanceof UblkError) || error.code !== "DEVICE_NOT_FOUND") throw error;
  }
}
