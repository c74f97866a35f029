/**
 * Kernel settings of a server's process, for a disk on which all processes' memory, including its
 * own, may depend. Loaded only if one of them is requested.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import {
  closeFd,
  getAffinity,
  openFile,
  readSmallFile,
  setAffinity,
  writeText,
} from "../../uring/libc.ts";
import {
  discardsIgnored,
  ignoreDiscards,
  isIoFlusher,
  lockMemory,
  setIoFlusher,
  startOver,
} from "../../uring/process.ts";
import type { ProcessOptions } from "../devices/disk_request.ts";

/**
 * Applies the settings to this process before it starts any thread. Settings that a thread can only
 * inherit are applied first, and then the program is executed again in the same process: by the
 * time its first line runs, Deno already has a dozen threads.
 *
 * @returns A check to call once all threads exist. It throws if a thread lacks a setting.
 * @throws {UblkError} `SYSCALL_FAILED` if this process lacks the rights.
 */
export function prepareProcess(
  { mlock, ioFlusher, oomScore, cpus }: ProcessOptions,
): () => Promise<void> {
  const discards = mlock && !discardsIgnored();
  const flushes = ioFlusher && !isIoFlusher();
  const strays = cpus !== undefined && !getAffinity().every((cpu) => cpus.includes(cpu));
  if (discards) ignoreDiscards();
  if (flushes) setIoFlusher(true);
  if (strays) setAffinity(cpus);
  if (discards || flushes || strays) startOver();
  if (oomScore !== undefined) setOomScore(oomScore);
  if (mlock) lockMemory();
  if (!ioFlusher) return () => Promise.resolve();
  const mark = flusherMark();
  return () => checkThreads(mark);
}

function setOomScore(score: number): void {
  const O_WRONLY = 1;
  const path = "/proc/self/oom_score_adj";
  const fd = openFile(path, O_WRONLY);
  try {
    writeText(fd, `${score}\n`);
  } catch (cause) {
    throw new UblkError("SYSCALL_FAILED", {
      operation: `--oom-score ${score}`,
      reason: "it is less than the process may have",
      errno: (cause as UblkError).errno,
      hint: "it needs root, or CAP_SYS_RESOURCE",
      cause,
    });
  } finally {
    closeFd(fd);
  }
}

/**
 * The bits in `/proc` that mark a thread as an I/O flusher. They are internal to the kernel and may
 * change with each version, so they are found by comparing this thread with and without the
 * setting.
 */
function flusherMark(): number {
  const ownFlags = () => taskFlags(readSmallFile("/proc/thread-self/stat"));
  setIoFlusher(false);
  const without = ownFlags();
  setIoFlusher(true);
  return ownFlags() & ~without;
}

/** The kernel's flags of a thread, `PF_*`: field 9 of its `stat`. */
export function taskFlags(stat: string): number {
  // The name, in parentheses, may contain anything.
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[6]);
}

/** The threads of a process whose `stat` lacks the mark. */
export function threadsWithout(mark: number, stats: readonly string[]): string[] {
  return stats.filter((stat) => (taskFlags(stat) & mark) !== mark)
    .map((stat) => stat.slice(0, stat.lastIndexOf(")") + 1));
}

async function checkThreads(mark: number): Promise<void> {
  // A child process looks: Deno itself reads folders of /proc only if it has all permissions.
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: [
      "-c",
      'for f in /proc/$0/task/*/stat; do read -r s <"$f" && echo "$s"; done',
      `${Deno.pid}`,
    ],
    stdin: "null",
    stderr: "null",
  }).output();
  const stats = new TextDecoder().decode(stdout).trim().split("\n");
  const without = threadsWithout(mark, stats);
  if (mark !== 0 && without.length === 0) return;
  throw new UblkError("THREAD_FAILED", {
    operation: "--io-flusher",
    reason: `it does not hold for ${without.length} of ${stats.length} threads: ${without[0]}`,
    hint: "leave it out",
  });
}
