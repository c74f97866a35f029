/**
 * The control device's node, and the plain words for its absence.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { openFile, pathExists } from "../uring/libc.ts";
import { openError } from "./errors.ts";

/** Where the driver's control device is. */
export const CONTROL_PATH = "/dev/ublk-control";

const O_RDWR = 2;

/** Files that container runtimes leave in the root: Docker's and Podman's. */
const CONTAINER_MARKS = ["/.dockerenv", "/run/.containerenv"];

/**
 * Opens the control device.
 *
 * @throws {UblkError} `MODULE_MISSING`, `PERMISSION_DENIED` or `CONTROL_FAILED`.
 */
export function openControlFd(path: string = CONTROL_PATH): number {
  try {
    return openFile(path, O_RDWR);
  } catch (error) {
    if (!(error instanceof UblkError) || error.errno === undefined) throw error;
    throw openError(path, error.errno, CONTAINER_MARKS.some(pathExists));
  }
}
