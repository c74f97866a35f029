/**
 * Leaving a mount namespace and seeing its files all the same.
 *
 * A process that ends lets go of its mount namespace before it lets go of its files. If it is the
 * last one there, the kernel unmounts then and there what is mounted in the namespace; of a server
 * that may be a filesystem on its own disk, and what that still writes nobody answers any more. The
 * process waits for itself, and not even `kill -9` ends it.
 *
 * A copy of the namespace would do, but for as long as the server lives each filesystem that was
 * mounted when it began would stay mounted in that copy: unmounted everywhere else, its disk would be
 * busy. So the copy is emptied, and the root of the process stays where it was: a root need not
 * belong to the namespace of its process. Through it the files of the old namespace are seen, and
 * what is mounted there later, without holding any of it.
 * See docs/decisions/0013-a-server-leaves-its-mount-namespace.md.
 *
 * @module
 */

import { EPERM } from "../uapi/errno.ts";
import type { UblkError } from "../uapi/error.ts";
import { fileStatus } from "./file.ts";
import {
  closeFd,
  cString,
  errno,
  libc,
  openFile,
  processLibc,
  readSmallFile,
  syscallError,
} from "./libc.ts";

const CLONE_NEWNS = 0x2_0000;
/** `PROC_PID_INIT_INO`: the number of the machine's process namespace, on every kernel. */
const MACHINES_PIDS = "4026531836";

/**
 * Whether this process is in the mount namespace of the machine's first process, which outlives every
 * server. False where that cannot be told.
 */
export function isMachinesMountNamespace(): boolean {
  try {
    const pids = fileStatus("/proc/self/ns/pid")?.identity.split(":").at(-1);
    const mounts = fileStatus("/proc/self/ns/mnt")?.identity;
    // In a process namespace of its own, a container has a first process of its own.
    return pids === MACHINES_PIDS && mounts === fileStatus("/proc/1/ns/mnt")?.identity;
  } catch {
    return false;
  }
}

/**
 * Takes the calling thread out of its mount namespace; threads and processes that it starts are out
 * of it, too, and so is the program that takes its place by `execve`. Its root and its current folder
 * stay where they are.
 *
 * @throws {UblkError} `SYSCALL_FAILED` where it may not; nothing has changed then.
 */
export function leaveMountNamespace(): void {
  // A process that has left one already sees no mounts of its own.
  if (mountPoints(readSmallFile("/proc/thread-self/mountinfo")).length === 0) return;
  const O_PATH = 0o10000000;
  const { unshare, setns, chroot, fchdir } = processLibc();
  const root = openFile("/", O_PATH);
  const folder = openFile(".", O_PATH);
  const namespace = openFile("/proc/thread-self/ns/mnt", 0);
  const enterRoot = () => {
    if (fchdir(root) < 0 || chroot(cString(".")) < 0) throw syscallError("chroot");
    if (fchdir(folder) < 0) throw syscallError("fchdir");
  };
  try {
    // It changes nothing, and is refused while there is a way back: a process with CAP_SYS_ADMIN
    // alone used to stay in the emptied copy, since setns() needs CAP_SYS_CHROOT, too.
    if (chroot(cString("/")) < 0) throw refusal("chroot");
    if (unshare(CLONE_NEWNS) < 0) throw refusal("unshare");
    try {
      emptyNamespace();
      enterRoot();
    } catch (error) {
      // A copy that is not empty is worse than the namespace itself.
      if (setns(namespace, CLONE_NEWNS) === 0) enterRoot();
      throw error;
    }
  } finally {
    for (const fd of [root, folder, namespace]) closeFd(fd);
  }
}

function refusal(name: "chroot" | "unshare"): UblkError {
  const number = errno();
  const hint = number === EPERM ? "it needs root, or CAP_SYS_ADMIN and CAP_SYS_CHROOT" : undefined;
  return syscallError(name, hint, number);
}

/** Detaches every mount of this thread's own namespace but its root. */
function emptyNamespace(): void {
  const MS_REC_PRIVATE = 0x4000n | 0x4_0000n;
  const MNT_DETACH_UMOUNT_NOFOLLOW = 2 | 8;
  const { mount, umount2 } = processLibc();
  // Or what is detached here would be detached wherever else it is shared.
  if (mount(null, cString("/"), null, MS_REC_PRIVATE, null) < 0) throw syscallError("mount");
  // Opened first: /proc is among what goes.
  const mountinfo = openFile("/proc/thread-self/mountinfo", 0);
  try {
    for (let left = Infinity;;) {
      const points = mountPoints(readFromStart(mountinfo)).filter((point) => point !== "/");
      // What a container's maker has locked stays.
      if (points.length === 0 || points.length >= left) return;
      left = points.length;
      for (const point of points.reverse()) umount2(cString(point), MNT_DETACH_UMOUNT_NOFOLLOW);
    }
  } finally {
    closeFd(mountinfo);
  }
}

/** The mount points in a `mountinfo`, in its order. */
export function mountPoints(mountinfo: string): string[] {
  return mountinfo.split("\n").map((line) => line.split(" ")[4]).filter((point) =>
    point !== undefined
  )
    .map((point) =>
      point.replaceAll(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)))
    );
}

function readFromStart(fd: number): string {
  const decoder = new TextDecoder();
  const bytes = new Uint8Array(64 << 10);
  let text = "";
  for (let at = 0;;) {
    const count = libc().pread(fd, bytes, BigInt(bytes.length), BigInt(at));
    if (count < 0) throw syscallError("read mountinfo");
    if (count === 0) return text + decoder.decode();
    text += decoder.decode(bytes.subarray(0, count), { stream: true });
    at += count;
  }
}
