/**
 * Opens the files behind disks. Each error is one line with the path, the cause and the remedy.
 *
 * @module
 */

import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { EINVAL, errnoName, errnoText } from "../uapi/errno.ts";
import type { UblkError } from "../uapi/error.ts";
import {
  closeLocked,
  endOfFile,
  type FileStatus,
  fileStatus,
  removeFile,
  smallText,
  truncateFile,
} from "../uring/file.ts";
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

/** Settings for opening a file. */
export interface FileWish extends ClaimWish {
  /**
   * The disk's logical block in bytes.
   *
   * @default The block size of the device below. With `direct`, the smallest that works. Otherwise 512.
   */
  readonly blockSize?: number;
  /** Create the file, or make it longer, to have this many bytes. With 0 it may be empty. */
  readonly createBytes?: number;
  /**
   * The disk in this file is being recovered. The file must exist, and is left unchanged, whatever
   * {@linkcode createBytes} says. The disk may have been resized since. If the file's filesystem were
   * not mounted, a new, empty file would silently take its place.
   */
  readonly recovering?: boolean;
  /**
   * The block size in bytes of the recovered device. The disk keeps it if no other is asked for and
   * requests of that size work.
   */
  readonly deviceBlockSize?: number;
}

/** An open file, as plain data. Its descriptor is valid in every thread. */
export interface BackingFile {
  /** The path as given. */
  readonly path: string;
  /** The descriptor. */
  readonly fd: number;
  /** Its length or size in bytes. */
  readonly bytes: number;
  /** Whether it is a block device. */
  readonly isDevice: boolean;
  /** Whether writes are impossible: by request, or because the device is write-protected. */
  readonly readOnly: boolean;
  /** The disk's logical block in bytes, requested or determined. */
  readonly blockSize: number;
  /** Whether space can be freed in blocks of {@linkcode blockSize}, or could be before a recovery. */
  readonly punches: boolean;
  /** Whether it was created here. A caller that cannot use it removes it. */
  readonly isNew: boolean;
  /** The topology for the disk. */
  readonly topology: Topology;
}

/**
 * Opens a file or block device, and claims it: a file by its lock, a device by `O_EXCL`.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`, with one line about the problem with the file.
 */
export async function openBackingFile(path: string, wish: FileWish): Promise<BackingFile> {
  const found = fileStatus(path);
  const createBytes = wish.recovering ? undefined : wish.createBytes;
  const remedy = wish.recovering ? "check that its filesystem is mounted, and the path" : undefined;
  if (found === undefined && createBytes === undefined) {
    const orMake = wish.readOnly ? "" : ", or have it made by create and size";
    throw refusal(path, "there is no such file", remedy ?? `check the path${orMake}`);
  }
  if (found !== undefined) checkKind(path, found, wish);
  const isDevice = found?.kind === "block device";
  const limits = isDevice ? deviceLimits(found.device) : undefined;
  const { fd, readOnly } = await openAsPossible(path, found, limits, wish);
  try {
    if (createBytes !== undefined && createBytes > 0) lengthen(path, fd, createBytes);
    const bytes = lengthOf(path, fd);
    const status = found ?? fileStatus(path)!;
    const blockSize = wish.blockSize ?? defaultBlockSize(fd, status, limits, wish);
    if (bytes < blockSize && createBytes !== 0) {
      const reason = `its ${bytes} bytes are less than a block of ${blockSize}`;
      const larger = isDevice
        ? "give a device that has a medium, and room for a block"
        : "make it longer (truncate -s), or have it made by create and size";
      throw refusal(path, reason, remedy ?? larger);
    }
    if (wish.direct) checkAlignment(path, fd, blockSize);
    const topology = {
      ...limits?.topology ?? topologyOfFile(status),
      dmaAlignmentBytes: wish.direct ? status.directAlignment?.memory : undefined,
    };
    // A recovered device keeps its abilities, whatever is below it now. The kernel withdraws the
    // ability from a disk that fails one WRITE SAME; the recovery was then refused, which loses the
    // device. Instead a request gets the errno, and the block layer writes zeroes itself.
    const canGiveBack = wish.recovering ||
      (isDevice ? deviceCanPunch(limits, blockSize) : canPunch(fd, bytes, blockSize));
    return {
      ...{ path, fd, bytes, isDevice, readOnly, blockSize },
      punches: !readOnly && canGiveBack,
      topology: fitted(topology, blockSize),
      isNew: found === undefined,
    };
  } catch (error) {
    // Remove it while it is locked: nobody else uses it.
    if (found === undefined) removeFile(path);
    closeLocked(fd);
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
  // A server that waits for a ublk disk may wait for itself, in a state where no signal reaches it.
  const name = /^DEVNAME=(ublkb\d+)/m.exec(smallText(`/sys/dev/block/${device}/uevent`) ?? "")?.[1];
  if (name === undefined) return;
  throw refusal(path, `it is ${name}, a disk of a ublk server`, "give the file behind that disk");
}

/** Bytes of a file or a device. Some files of the kernel's, as in `/proc`, have no end to seek. */
function lengthOf(path: string, fd: number): number {
  try {
    return endOfFile(fd);
  } catch (error) {
    const { errno = 0 } = error as UblkError;
    const reason = `its length cannot be found: ${errnoText(errno)}`;
    throw refusal(path, reason, "give a file with contents, or a block device", errno);
  }
}

/** Makes a file as long as requested. */
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

/** Checks that requests of the block size work with `O_DIRECT`, by trying one. */
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
