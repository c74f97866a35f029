/**
 * Opens the files that disks are made of: each mistake with them is one line that names the path,
 * the cause and the remedy.
 *
 * @module
 */

import {
  EACCES,
  EBUSY,
  EINVAL,
  EPERM,
  EROFS,
  errnoName,
  errnoText,
  ETXTBSY,
} from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  endOfFile,
  type FileStatus,
  fileStatus,
  lockFile,
  O_CREAT,
  O_DIRECT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  removeFile,
  smallText,
  truncateFile,
} from "../uring/file.ts";
import { closeFd, openFile } from "../uring/libc.ts";
import type { Topology } from "../disk/backend.ts";
import { type DeviceLimits, deviceLimits, fitted } from "../disk/device_limits.ts";
import {
  canPunch,
  defaultBlockSize,
  deviceCanPunch,
  readDirect,
  topologyOfFile,
} from "./file_abilities.ts";
import { loopOver } from "../disk/file_places.ts";
import { BLOCK_SIZES } from "../disk/geometry.ts";
import { formatSize } from "../disk/size.ts";

/** How a file is to be opened. */
export interface FileWish {
  /** Nothing is written to it. */
  readonly readOnly: boolean;
  /** Past the page cache. */
  readonly direct: boolean;
  /**
   * The disk's logical block in bytes. Default: the one that the device below has or, past the page
   * cache, the least that goes through; else 512.
   */
  readonly blockSize?: number;
  /** Others may have the file too that allow it likewise. */
  readonly shared?: boolean;
  /** The file is made, or made longer, to have this many bytes. With 0 it may be empty. */
  readonly createBytes?: number;
  /**
   * A disk goes on that is in this file: it must be there, and is left as it is, whatever
   * {@linkcode createBytes} says. The disk may have been resized since, and where its filesystem is
   * not mounted a new, empty file would silently take its place.
   */
  readonly recovering?: boolean;
  /**
   * The block size in bytes of the device that is recovered. It is the disk's too where none is
   * wished, if requests of it go through.
   */
  readonly deviceBlockSize?: number;
}

/** An open file. Its descriptor is good in every thread. Plain data. */
export interface BackingFile {
  /** As it was given. */
  readonly path: string;
  /** The descriptor. */
  readonly fd: number;
  /** Its length or size in bytes. */
  readonly bytes: number;
  /** It is a block device. */
  readonly isDevice: boolean;
  /** Nothing can be written to it, as was wished or because the device is write-protected. */
  readonly readOnly: boolean;
  /** The disk's logical block in bytes, as was wished or found. */
  readonly blockSize: number;
  /** Space in it can be given back, by blocks of {@linkcode blockSize}, or could before a recovery. */
  readonly punches: boolean;
  /** It was not there: who finds it of no use removes it. */
  readonly isNew: boolean;
  /** How it is best used. */
  readonly topology: Topology;
}

/**
 * A dead server's ring holds its files, and their locks, until the kernel has taken it apart. Who
 * recovers the device, or makes it anew, comes at once: so a lock that is held is asked for again.
 */
const PATIENCE_MS = 2000;
/** The device is lost where the recovery is refused. */
const RECOVERY_PATIENCE_MS = 10_000;
const RETRY_MS = 50;

/** The error of a file that cannot be had: one line with path, cause and remedy. */
export function refusal(path: string, reason: string, hint: string, errno?: number): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: path, reason, hint, errno });
}

/**
 * Opens a file or block device, and claims it: a file by its lock, a device by `O_EXCL`.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, in one line that says what is wrong with the file.
 */
export async function openBackingFile(path: string, wish: FileWish): Promise<BackingFile> {
  const found = fileStatus(path);
  const createBytes = wish.recovering ? undefined : wish.createBytes;
  const remedy = wish.recovering ? "check that its filesystem is mounted, and the path" : undefined;
  if (found === undefined && createBytes === undefined) {
    const orMake = wish.readOnly ? "" : ", or have it made: create, size";
    throw refusal(path, "there is no such file", remedy ?? `check the path${orMake}`);
  }
  if (found !== undefined) checkKind(path, found, wish);
  const isDevice = found?.kind === "block device";
  const limits = isDevice ? deviceLimits(found.device) : undefined;
  const { fd, readOnly } = await openAsPossible(path, found, limits, wish);
  try {
    if (createBytes !== undefined && createBytes > 0) lengthen(path, fd, createBytes);
    const bytes = endOfFile(fd);
    const status = found ?? fileStatus(path)!;
    const blockSize = wish.blockSize ?? defaultBlockSize(fd, status, limits, wish);
    if (bytes < blockSize && createBytes !== 0) {
      const reason = `its ${bytes} bytes are less than a block of ${blockSize}`;
      const larger = isDevice
        ? "give a device that has a medium, and room for a block"
        : "make it longer (truncate -s), or have it made: create, size";
      throw refusal(path, reason, remedy ?? larger);
    }
    if (wish.direct) checkAlignment(path, fd, blockSize);
    const topology = {
      ...limits?.topology ?? topologyOfFile(status),
      dmaAlignmentBytes: wish.direct ? status.directAlignment?.memory : undefined,
    };
    // A device keeps what it was made with, whatever is below it now. The kernel takes the ability
    // from a disk that fails one WRITE SAME, and the recovery was refused, which loses the device. A
    // request gets the errno instead, and the block layer writes zeroes then.
    const canGiveBack = wish.recovering ||
      (isDevice ? deviceCanPunch(limits, blockSize) : canPunch(fd, bytes, blockSize));
    return {
      ...{ path, fd, bytes, isDevice, readOnly, blockSize },
      punches: !readOnly && canGiveBack,
      topology: fitted(topology, blockSize),
      isNew: found === undefined,
    };
  } catch (error) {
    // While it is locked: nobody else has it.
    if (found === undefined) removeFile(path);
    closeFd(fd);
    throw error;
  }
}

function checkKind(path: string, { kind, device }: FileStatus, wish: FileWish): void {
  if (kind !== "file" && kind !== "block device") {
    throw refusal(path, `it is a ${kind}`, "give a file or a block device");
  }
  if (kind !== "block device") return;
  if (wish.createBytes !== undefined) {
    throw refusal(path, "it is a block device, which has a size", "leave out create and size");
  }
  // A server that waits for a ublk disk may wait for itself, where no signal reaches it.
  const name = /^DEVNAME=(ublkb\d+)/m.exec(smallText(`/sys/dev/block/${device}/uevent`) ?? "")?.[1];
  if (name === undefined) return;
  throw refusal(path, `it is ${name}, a disk of a ublk server`, "give the file behind that disk");
}

/**
 * Opens a file as is wished, and a block device that is write-protected for reading only, as
 * `losetup` and `mount` do. Most devices can be opened for writing then and fail each write; some
 * (a card with its switch set) cannot. The users of a device that is recovered rely on its taking
 * writes: they see those fail for as long as the device below is write-protected.
 */
async function openAsPossible(
  path: string,
  found: FileStatus | undefined,
  limits: DeviceLimits | undefined,
  wish: FileWish,
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

/** Opens a file and takes its lock, or a block device that nobody else holds. */
async function openClaimed(
  path: string,
  found: FileStatus | undefined,
  wish: FileWish,
): Promise<number> {
  const access = (wish.readOnly ? O_RDONLY : O_RDWR) | (wish.direct ? O_DIRECT : 0);
  const isDevice = found?.kind === "block device";
  const flags = access | (found === undefined ? O_CREAT | O_EXCL : isDevice ? O_EXCL : 0);
  const deadline = performance.now() + (wish.recovering ? RECOVERY_PATIENCE_MS : PATIENCE_MS);
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
      // Whatever was thrown: it stayed open and locked, and whoever tried again found it in use.
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
      "end it, give a copy, or let both share it (shared)",
    );
}

function openError(path: string, error: unknown, wish: FileWish, isDevice: boolean): unknown {
  if (!(error instanceof UblkError) || error.code !== "SYSCALL_FAILED") return error;
  const { errno = 0 } = error;
  const fail = (reason: string, hint: string) => refusal(path, reason, hint, errno);
  switch (errno) {
    case EPERM:
      // Not the bits of its mode: whoever asks is refused. Its owner cannot help that.
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

/** The kernel's own loop driver takes no lock, and does not hold a device below it. */
function refuseLoops(path: string): void {
  const loop = loopOver(path);
  if (loop === undefined) return;
  const remedy = `detach it (losetup -d /dev/loop${loop}), or give /dev/loop${loop}`;
  throw refusal(path, `it is in use by /dev/loop${loop}`, remedy);
}

/** Gives a file the length that it is to have. */
function lengthen(path: string, fd: number, bytes: number): void {
  const now = endOfFile(fd);
  if (now > bytes) {
    const reason = `it has ${formatSize(now)} already, and making it ${
      formatSize(bytes)
    } loses data`;
    throw refusal(path, reason, "give at least its size, or remove the file first");
  }
  try {
    if (now < bytes) truncateFile(fd, bytes);
  } catch (error) {
    const { errno = 0 } = error as UblkError;
    const reason = `it cannot get ${formatSize(bytes)}: ${errnoText(errno)}`;
    throw refusal(path, reason, "ask for less, or use another filesystem", errno);
  }
}

/** Whether requests of that block size go through with `O_DIRECT`: one is tried. */
function checkAlignment(path: string, fd: number, blockSize: number): void {
  const result = readDirect(fd, blockSize);
  if (result >= 0) return;
  const possible = BLOCK_SIZES.find((size) => size > blockSize && readDirect(fd, size) >= 0);
  if (result === -EINVAL && possible !== undefined) {
    const reason = `with O_DIRECT it takes no blocks of ${blockSize} bytes`;
    throw refusal(path, reason, `use blocks of ${possible}, or serve it without direct`);
  }
  const reason = `it cannot be read with O_DIRECT: ${errnoName(result)}`;
  throw refusal(path, reason, "serve it without direct", -result);
}
