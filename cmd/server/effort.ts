/**
 * How much this process has done: the sign that a long start or stop gets on, and does not hang.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { readSmallFile } from "../../uring/libc.ts";

/** The kernel's ticks of CPU time in a second, `USER_HZ`: 100 on every machine that Linux has. */
const TICKS_PER_SECOND = 100;

/** One unit of effort, as CPU time. An idle server takes a tenth of it in a minute. */
const UNIT_CPU_SECONDS = 0.05;
/** One unit of effort, as bytes read and written. */
const UNIT_BYTES = 65_536;

/** The work of all threads of this process since it began, in units that only grow. */
export function processEffort(): number {
  return effortOf(readSmallFile("/proc/self/stat"), ioOfSelf());
}

/** The same, from the texts of `/proc/PID/stat` and `/proc/PID/io`. */
export function effortOf(stat: string, io: string): number {
  // Fields 14 and 15. The name, in parentheses, may contain anything.
  const [utime, stime] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
  const cpuSeconds = (Number(utime) + Number(stime)) / TICKS_PER_SECOND;
  const bytes = Array.from(io.matchAll(/^[rw]char: (\d+)$/gm), ([, count]) => Number(count))
    .reduce((sum, count) => sum + count, 0);
  return cpuSeconds / UNIT_CPU_SECONDS + bytes / UNIT_BYTES;
}

/** Empty where the kernel does not count (no `CONFIG_TASK_IO_ACCOUNTING`) or does not tell. */
function ioOfSelf(): string {
  try {
    return readSmallFile("/proc/self/io");
  } catch (error) {
    if (error instanceof UblkError) return "";
    throw error;
  }
}
