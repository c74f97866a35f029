/**
 * Who this process is to the kernel, and what it may do. By libc, since Deno tells of users only
 * with a permission of its own, and of capabilities not at all.
 *
 * @module
 */

import { closeFd, cString, libc, openFile, readSmallFile, syscallError } from "./libc.ts";

/** The user as whom this process acts. */
export function userId(): number {
  return libc().geteuid();
}

/**
 * Whether this thread has `CAP_SYS_ADMIN`, as root has: what the driver asks of whoever makes a
 * privileged device. What root of a user namespace has within it does not count (`capable` in the
 * kernel).
 *
 * @throws {UblkError} `SYSCALL_FAILED` where that cannot be told.
 */
export function hasAdminRights(): boolean {
  return hasAdminCapability() && isInitialNamespace();
}

function hasAdminCapability(): boolean {
  const CAP_SYS_ADMIN = 21;
  const LINUX_CAPABILITY_VERSION_3 = 0x2008_0522;
  // struct __user_cap_header_struct: u32 version, int pid; 0 is the calling thread.
  const header = new Uint32Array([LINUX_CAPABILITY_VERSION_3, 0]);
  // Twice struct __user_cap_data_struct: u32 effective, permitted, inheritable, of 32 bits each.
  const data = new Uint32Array(6);
  if (libc().capget(header, data) < 0) throw syscallError("capget");
  return (data[0] & (1 << CAP_SYS_ADMIN)) !== 0;
}

/** Whether this process is in the user namespace of the machine: there every user is himself. */
function isInitialNamespace(): boolean {
  const EVERY_USER = "0 0 4294967295";
  return readSmallFile("/proc/self/uid_map").trim().split(/\s+/).join(" ") === EVERY_USER;
}

/** Whether this user may read and write what is at a path. Nothing is opened. */
export function mayUse(path: string): boolean {
  const R_OK_W_OK = 4 | 2;
  return libc().access(cString(path), R_OK_W_OK) === 0;
}

/**
 * A path, pinned: what is done through it hits what was there at first, even if something else has
 * been put in its place.
 */
export class PinnedPath implements Disposable {
  readonly #path: string;
  readonly #fd: number;

  /**
   * Pins what is at a path. A device behind it does not notice.
   *
   * @throws {UblkError} `SYSCALL_FAILED`.
   */
  constructor(path: string) {
    const O_PATH = 0o10000000;
    this.#path = path;
    this.#fd = openFile(path, O_PATH);
  }

  /**
   * Gives it to a user; its group stays.
   *
   * @throws {UblkError} `SYSCALL_FAILED`.
   */
  giveTo(uid: number): void {
    const AT_EMPTY_PATH = 0x1000;
    const SAME_GROUP = 0xffff_ffff;
    if (libc().fchownat(this.#fd, cString(""), uid, SAME_GROUP, AT_EMPTY_PATH) < 0) {
      throw syscallError(`chown ${this.#path} to ${uid}`);
    }
  }

  /** Lets go of it. */
  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
