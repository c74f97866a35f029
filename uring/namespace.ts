/**
 * Leaves a mount namespace while keeping its files visible.
 *
 * When a process ends, it releases its mount namespace before its files. If it is the last process
 * in the namespace, the kernel then unmounts everything mounted there. That may include a
 * filesystem on the server's own disk, and nobody answers the filesystem's last writes. The process
 * waits for itself, and not even `kill -9` ends it.
 *
 * A copy of the namespace would avoid that. But every filesystem mounted when the server started
 * would stay mounted in the copy for the server's lifetime; unmounted everywhere else, its disk
 * would still be busy. So the copy is emptied. The root of the process stays where it was, because
 * a root need not belong to the process's namespace. Through this root the process sees the files
 * of the old namespace, including later mounts, without holding any of them.
 *
 * See docs/decisions/0013-a-server-leaves-its-mount-namespace.md.
 *
 * @module
 */

import { EPERM } from "../uapi/errno.ts";
import type { UblkError } from "../uapi/error.ts";
import { fileStatus } from "./file.ts";
import { closeFd, cString, errno, libc, openFile, readSmallFile, syscallError } from "./libc.ts";

const CLONE_NEWNS = 0x2_0000;
/** `PROC_PID_INIT_INO`: the inode of the machine's initial process namespace, on every kernel. */
const MACHINES_PIDS = "4026531836";

/**
 * Whether this process is in the mount namespace of the machine's first process, which outlives
 * every server. False if that cannot be determined.
 */
export function isMachinesMountNamespace(): boolean {
  try {
    const pids = fileStatus("/proc/self/ns/pid")?.identity.split(":").at(-1);
    const mounts = fileStatus("/proc/self/ns/mnt")?.identity;
    // A container with its own process namespace has its own first process.
    return pids === MACHINES_PIDS && mounts === fileStatus("/proc/1/ns/mnt")?.identity;
  } catch {
    return false;
  }
}

/**
 * Moves the calling thread out of its mount namespace. Threads and processes that it starts are
 * outside too, as is a program that replaces it by `execve`. Its root and current folder stay the
 * same.
 *
 * @throws {UblkError} `SYSCALL_FAILED` if that is not permitted. Nothing has changed then.
 */
export function leaveMountNamespace(): void {
  // After leaving a namespace, a process sees no mounts of its own.
  if (mountPoints(readSmallFile("/proc/thread-self/mountinfo")).length === 0) return;
  const O_PATH = 0o10000000;
  const { unshare, setns, chroot, fchdir } = libc();
  const root = openFile("/", O_PATH);
  const folder = openFile(".", O_PATH);
  const namespace = openFile("/proc/thread-self/ns/mnt", 0);
  const enterRoot = () => {
    if (fchdir(root) < 0 || chroot(cString(".")) < 0) throw syscallError("chroot");
    if (fchdir(folder) < 0) throw syscallError("fchdir");
  };
  try {
    // This changes nothing, but checks for CAP_SYS_CHROOT while there is a way back: setns() needs
    // it too, and a process with CAP_SYS_ADMIN alone used to get stuck in the emptied copy.
    if (chroot(cString("/")) < 0) throw refusal("chroot");
    if (unshare(CLONE_NEWNS) < 0) throw refusal("unshare");
    try {
      emptyNamespace();
      enterRoot();
    } catch (error) {
      // A copy that is not empty is worse than the original namespace.
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

/** Detaches every mount of this thread's own namespace except its root. */
function emptyNamespace(): void {
  const MS_REC_PRIVATE = 0x4000n | 0x4_0000n;
  const MNT_DETACH_UMOUNT_NOFOLLOW = 2 | 8;
  const { mount, umount2 } = libc();
  // Without this, a mount detached here would also be detached wherever it is shared.
  if (mount(null, cString("/"), null, MS_REC_PRIVATE, null) < 0) throw syscallError("mount");
  // Open it first, because /proc will be detached too.
  const mountinfo = openFile("/proc/thread-self/mountinfo", 0);
  try {
    for (let left = Infinity;;) {
      const points = mountPoints(readFromStart(mountinfo)).filter((point) => point !== "/");
      // Mounts locked by the creator of a container stay.
      if (points.length === 0 || points.length >= left) return;
      left = points.length;
      for (const point of points.reverse()) umount2(cString(point), MNT_DETACH_UMOUNT_NOFOLLOW);
    }
  } finally {
    closeFd(mountinfo);
  }
}

/** The mount points in a `mountinfo` file, in its order. */
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
