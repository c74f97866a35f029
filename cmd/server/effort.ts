/**
 * A measure of this process's work: it shows whether a long start or stop makes progress or hangs.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { readSmallFile } from "../../uring/libc.ts";

/** Clock ticks per second of CPU time, `USER_HZ`: 100 on every machine that Linux supports. */
const TICKS_PER_SECOND = 100;

/** CPU time per unit of effort. An idle server uses a tenth of it per minute. */
const UNIT_CPU_SECONDS = 0.05;
/** Bytes read and written per unit of effort. */
const UNIT_BYTES = 65_536;

/** The work of all threads of this process since its start, in units. Never decreases. */
export function processEffort(): number {
  return effortOf(readSmallFile("/proc/self/stat"), ioOfSelf());
}

/** Computes the same from the texts of `/proc/PID/stat` and `/proc/PID/io`. */
export function effortOf(stat: string, io: string): number {
  // Fields 14 and 15. The name, in parentheses, may contain anything.
  const [utime, stime] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
  const cpuSeconds = (Number(utime) + Number(stime)) / TICKS_PER_SECOND;
  const bytes = Array.from(io.matchAll(/^[rw]char: (\d+)$/gm), ([, count]) => Number(count))
    .reduce((sum, count) => sum + count, 0);
  return cpuSeconds / UNIT_CPU_SECONDS + bytes / UNIT_BYTES;
}

/**
 * The text of `/proc/self/io`; empty if the kernel does not count (no `CONFIG_TASK_IO_ACCOUNTING`)
 * or denies access.
 */
function ioOfSelf(): string {
  try {
    return readSmallFile("/proc/self/io");
  } catch (error) {
    if (error instanceof UblkError) return "";
    throw error;
  }
}
