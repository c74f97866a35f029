/**
 * Opens a file or block device for a disk and claims it, so that nobody else writes to it meanwhile.
 *
 * @module
 */

import { EACCES, EBUSY, EINVAL, EPERM, EROFS, errnoText, ETXTBSY } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  type FileStatus,
  lockFile,
  O_CREAT,
  O_DIRECT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
} from "../uring/file.ts";
import { closeFd, openFile } from "../uring/libc.ts";
import type { DeviceLimits } from "../disk/device_limits.ts";
import { loopOver } from "../disk/file_places.ts";
import { refusal } from "../disk/file_checks.ts";

/** Settings for opening and claiming a file. */
export interface ClaimWish {
  /** Open it for reading only. */
  readonly readOnly: boolean;
  /** Bypass the page cache. */
  readonly direct: boolean;
  /** Let others that also set this option use the file too. Left out if it is no option. */
  readonly shared?: boolean;
  /** The disk in it is being recovered. */
  readonly recovering?: boolean;
  /**
   * Wait for the lock as long as a recovery does.
   *
   * @default Whether it is {@linkcode recovering}
   */
  readonly patient?: boolean;
}

/**
 * How long to retry a lock that is held. The ring of a dead server holds its files and their locks
 * until the kernel has dismantled the ring, and the next server may start before that.
 */
const PATIENCE_MS = 2000;
/** A recovery waits longer, because the device is lost if it is refused. */
const RECOVERY_PATIENCE_MS = 10_000;
const RETRY_MS = 50;

/**
 * Opens a file as requested, but a write-protected block device for reading only, as `losetup` and
 * `mount` do. Most write-protected devices can be opened for writing, and fail each write; some (a
 * card with its switch set) cannot. A recovered device stays writable, because its users rely on
 * that: their writes fail as long as the device below is write-protected.
 */
export async function openAsPossible(
  path: string,
  found: FileStatus | undefined,
  limits: DeviceLimits | undefined,
  wish: ClaimWish,
): Promise<{ fd: number; readOnly: boolean }> {
  const readOnly = wish.readOnly || (limits?.readOnly === true && !wish.recovering);
  try {
    return { fd: await openClaimed(path, found, { ...wish, readOnly }), readOnly };
  } catch (error) {
    const isProtected = found?.kind === "block device" && error instanceof UblkError &&
      error.errno === EROFS;
    if (readOnly || !isProtected) throw error;
    return { fd: await openClaimed(path, found, { ...wish, readOnly: true }), readOnly: true };
  }
}

/** Opens and locks a file, or opens a block device exclusively. */
async function openClaimed(
  path: string,
  found: FileStatus | undefined,
  wish: ClaimWish,
): Promise<number> {
  const access = (wish.readOnly ? O_RDONLY : O_RDWR) | (wish.direct ? O_DIRECT : 0);
  const isDevice = found?.kind === "block device";
  const flags = access | (found === undefined ? O_CREAT | O_EXCL : isDevice ? O_EXCL : 0);
  const isPatient = wish.patient ?? wish.recovering;
  const deadline = performance.now() + (isPatient ? RECOVERY_PATIENCE_MS : PATIENCE_MS);
  for (;;) {
    let fd: number | undefined;
    let isOurs = false;
    try {
      fd = openFile(path, flags, 0o644);
      isOurs = isDevice || lockFile(fd, wish.readOnly || wish.shared ? "shared" : "exclusive");
      if (isOurs && !wish.readOnly) refuseLoops(path);
    } catch (error) {
      isOurs = false;
      const isBusy = isDevice && error instanceof UblkError && error.errno === EBUSY;
      if (!isBusy) throw openError(path, error, wish, isDevice);
    } finally {
      // After every kind of error. The file once stayed open and locked, and a retry found it in use.
      if (!isOurs && fd !== undefined) closeFd(fd);
    }
    if (isOurs) return fd!;
    if (performance.now() >= deadline) break;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  throw isDevice
    ? refusal(path, "it is in use: mounted, or held by another", "unmount it, or end who holds it")
    : refusal(
      path,
      "it is in use by another disk or program (flock)",
      wish.shared === undefined
        ? "end it, or give a copy"
        : "end it, give a copy, or let both share it (shared)",
    );
}

function openError(path: string, error: unknown, wish: ClaimWish, isDevice: boolean): unknown {
  if (!(error instanceof UblkError) || error.code !== "SYSCALL_FAILED") return error;
  const { errno = 0 } = error;
  const fail = (reason: string, hint: string) => refusal(path, reason, hint, errno);
  switch (errno) {
    case EPERM:
      // Mode bits are not the cause: the attribute refuses everybody, and the owner cannot change it.
      return isDevice
        ? fail("this container may not open it (device cgroup)", "allow it the device: --device")
        : fail(
          "it is immutable or append-only (lsattr)",
          "`chattr -i -a` it, or serve it read-only",
        );
    case EACCES:
      return fail(`this user may not ${wish.readOnly ? "read" : "write"} it`, "run as its owner");
    case EROFS:
      return fail("it is on a read-only filesystem or device", "serve it read-only");
    case ETXTBSY:
      return fail("it is in use: a program that runs, or swap space", "give another file");
    case EINVAL:
      if (wish.direct) return fail("its filesystem has no O_DIRECT", "serve it without direct");
  }
  return fail(`it cannot be opened: ${errnoText(errno)}`, "check the path and who may use it");
}

/** Refuses files of the kernel's loop driver, which takes no lock and does not hold a device below. */
function refuseLoops(path: string): void {
  const loop = loopOver(path);
  if (loop === undefined) return;
  const remedy = `detach it (losetup -d /dev/loop${loop}), or give /dev/loop${loop}`;
  throw refusal(path, `it is in use by /dev/loop${loop}`, remedy);
}
