/**
 * The control device's node, and clear errors for its absence.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { fileStatus } from "../uring/file.ts";
import { openFile, pathExists } from "../uring/libc.ts";
import { openError } from "./errors.ts";

/** The path of the driver's control device. */
export const CONTROL_PATH = "/dev/ublk-control";

const O_RDWR = 2;

/** Files that Docker, Podman and systemd-nspawn leave in the root of a container. */
const CONTAINER_MARKS = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];

/** Inodes of the initial namespaces: `PROC_*_INIT_INO` of `linux/proc_ns.h`. */
const FIRST_NAMESPACES = { pid: 0xefff_fffc, cgroup: 0xefff_fffb } as const;

/** The signs by which a container is detected. */
export interface Surroundings {
  /**
   * The inode of this process's namespace; undefined if the kernel has none, or without `/proc`.
   */
  namespace(kind: keyof typeof FIRST_NAMESPACES): number | undefined;
  /** Whether a path exists. */
  exists(path: string): boolean;
}

const HERE: Surroundings = {
  namespace(kind) {
    const inode = fileStatus(`/proc/self/ns/${kind}`)?.identity.split(":").at(-1);
    return inode === undefined ? undefined : Number(inode);
  },
  exists: pathExists,
};

/**
 * Returns whether this is a container, so that kernel and modules are the host's. The files alone
 * do not prove it: a microVM whose root was made from a container image has them too, but has its
 * own kernel. One kind of namespace is not enough either: a container may share the host's
 * processes, or have a runtime that leaves no file.
 */
export function isContainer({ namespace, exists }: Surroundings = HERE): boolean {
  const isFirst = (kind: keyof typeof FIRST_NAMESPACES) =>
    namespace(kind) === FIRST_NAMESPACES[kind];
  if (!isFirst("pid")) return namespace("pid") !== undefined || CONTAINER_MARKS.some(exists);
  return !isFirst("cgroup") && CONTAINER_MARKS.some(exists);
}

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
    throw openError(path, error.errno, isContainer());
  }
}
