/**
 * Deleting a device that others may be using, or deleting too.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_S_DEV_DEAD } from "../uapi/ublk_cmd.ts";
import { pathExists } from "../uring/libc.ts";
import { blockPath, charPath } from "./node.ts";
import { diskUsers, usersText } from "./users.ts";

/** How long DEL_DEV may wait for whoever has the disk open, in milliseconds. */
const DELETE_MS = 2_000;

/**
 * Deletes a device from the kernel. DEL_DEV takes effect at once and then waits until nobody has
 * the disk open any more, a mounted filesystem for instance; that wait is not ours to share.
 *
 * @returns Why the id stays taken, in words; undefined where it is free.
 */
export async function deleteDevice(control: Control, id: number): Promise<string | undefined> {
  const enough = new AbortController();
  const { signal } = enough;
  // With many devices at once it may take long until it is this one's turn; so that alone says
  // nothing of the disk's users.
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
    // Where no shell may be run, nobody is named.
    return "";
  }
}

/**
 * Whether only the id is left. The kernel keeps that, and answers for it, until the last user has
 * closed the disk; but its nodes are gone and it is dead.
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

/** A device that somebody else has deleted meanwhile is as gone as one should be. */
export async function ignoreMissing(command: Promise<void>): Promise<void> {
  try {
    await command;
  } catch (error) {
    if (!(error instanceof UblkError) || error.code !== "DEVICE_NOT_FOUND") throw error;
  }
}
