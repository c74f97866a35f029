/**
 * Opens the files that disks are made of: each mistake with them is one line that names the path,
 * the cause and the remedy.
 *
 * @module
 */

import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { EINVAL, errnoName, errnoText } from "../uapi/errno.ts";
import type { UblkError } from "../uapi/error.ts";
import {
  endOfFile,
  type FileStatus,
  fileStatus,
  removeFile,
  smallText,
  truncateFile,
} from "../uring/file.ts";
import { closeFd } from "../uring/libc.ts";
import type { Topology } from "../disk/backend.ts";
import { deviceLimits, fitted } from "../disk/device_limits.ts";
import { formatSize } from "../disk/size.ts";
import { type ClaimWish, openAsPossible } from "./claimed_file.ts";
import {
  canPunch,
  defaultBlockSize,
  deviceCanPunch,
  readDirect,
  topologyOfFile,
} from "./file_abilities.ts";
import { refusal } from "../disk/file_checks.ts";

/** How a file is to be opened. */
export interface FileWish extends ClaimWish {
  /**
   * The disk's logical block in bytes. Default: the one that the device below has or, past the page
   * cache, the least that goes through; else 512.
   */
  readonly blockSize?: number;
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
