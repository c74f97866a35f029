/**
 * The user and the rights of this process. They come from libc, because Deno reports the user only
 * with an extra permission, and capabilities not at all.
 *
 * @module
 */

import { closeFd, cString, libc, openFile, readSmallFile, syscallError } from "./libc.ts";

/** The effective user id of this process. */
export function userId(): number {
  return libc().geteuid();
}

/**
 * Whether this thread has `CAP_SYS_ADMIN`, as root does. The driver requires it for making a
 * privileged device. Having it only inside a user namespace does not count (`capable` in the
 * kernel).
 *
 * @throws {UblkError} `SYSCALL_FAILED` if that cannot be determined.
 */
export function hasAdminRights(): boolean {
  return hasAdminCapability() && isInitialNamespace();
}

function hasAdminCapability(): boolean {
  const CAP_SYS_ADMIN = 21;
  const LINUX_CAPABILITY_VERSION_3 = 0x2008_0522;
  // struct __user_cap_header_struct: u32 version, int pid; 0 is the calling thread.
  const header = new Uint32Array([LINUX_CAPABILITY_VERSION_3, 0]);
  // Two of struct __user_cap_data_struct: u32 effective, permitted, inheritable.
  const data = new Uint32Array(6);
  if (libc().capget(header, data) < 0) throw syscallError("capget");
  return (data[0] & (1 << CAP_SYS_ADMIN)) !== 0;
}

/** Whether this process is in the machine's initial user namespace, where no user id is mapped. */
function isInitialNamespace(): boolean {
  const EVERY_USER = "0 0 4294967295";
  return readSmallFile("/proc/self/uid_map").trim().split(/\s+/).join(" ") === EVERY_USER;
}

/** Whether this user may read and write the file at a path. Nothing is opened. */
export function mayUse(path: string): boolean {
  const R_OK_W_OK = 4 | 2;
  return libc().access(cString(path), R_OK_W_OK) === 0;
}

/**
 * A pinned path. Operations through it affect the file that was there at first, even if another
 * file has taken its place.
 */
export class PinnedPath implements Disposable {
  readonly #path: string;
  readonly #fd: number;

  /**
   * Pins the file at a path. A device there is not opened.
   *
   * @throws {UblkError} `SYSCALL_FAILED`.
   */
  constructor(path: string) {
    const O_PATH = 0o10000000;
    this.#path = path;
    this.#fd = openFile(path, O_PATH);
  }

  /**
   * Makes a user the file's owner. The group stays the same.
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

  /** Releases the file. */
  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
