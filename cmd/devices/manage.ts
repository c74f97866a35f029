/**
 * `ublk update_size`, `quiesce` and `set_affinity`: changes to a live device.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { Control } from "../../ctrl/control.ts";
import { UblkError } from "../../uapi/error.ts";
import { setAffinity } from "../../uring/libc.ts";
import { parseCpus } from "../line/cpus.ts";
import type {
  QUIESCE_FLAGS,
  SET_AFFINITY_FLAGS,
  UPDATE_SIZE_FLAGS,
} from "../line/command_flags.ts";
import { usageError, type Values } from "../line/flags.ts";
import { isAlive, recordOf } from "./records.ts";
import { type ErrorLog, EXIT_OK } from "../program/run.ts";
import { askServer } from "./ask.ts";
import { withEach } from "./several.ts";

/** Targets without contents: only the kernel needs to know their size. */
const WITHOUT_CONTENTS: readonly string[] = ["null", "fault_inject"];

/** `ublk update_size`. */
export async function updateSize(
  { id, size }: Values<typeof UPDATE_SIZE_FLAGS>,
): Promise<number> {
  await using control = await Control.open();
  const { basic } = await control.getParams(id);
  const blockSize = 2 ** basic.logical_bs_shift;
  if (size % blockSize !== 0) {
    const near = Math.ceil(size / blockSize) * blockSize;
    throw usageError("--size", `${size} is not whole blocks of ${blockSize}`, `${near} is`);
  }
  const record = recordOf(id, (await control.getDevInfo(id)).ublksrv_pid);
  const withoutContents = record !== undefined && WITHOUT_CONTENTS.includes(record.target);
  try {
    if (await askServer(id, { op: "resize", size }) !== undefined) return EXIT_OK;
  } catch (error) {
    // A target without contents need not support resizing.
    if (!withoutContents) throw error;
  }
  if (!withoutContents) {
    throw new UblkError("CONTROL_FAILED", {
      operation: `resize to ${formatSize(size)}`,
      device: id,
      reason: record === undefined
        ? "its server keeps no control socket, and may have contents that would be out of step"
        : `the server of target ${record.target} does not answer at ${record.socket}`,
      hint: "resize it by its own server",
    });
  }
  await control.updateSize(id, size);
  return EXIT_OK;
}

/** `ublk quiesce`. */
export async function quiesce(
  { id: ids, "timeout-ms": timeoutMs = 10_000 }: Values<typeof QUIESCE_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  await using control = await Control.open();
  return await withEach(ids, log, (id) => control.quiesceDev(id, timeoutMs));
}

/** `ublk set_affinity`. */
export async function setQueueAffinity(
  { id, queue, cpuset }: Values<typeof SET_AFFINITY_FLAGS>,
): Promise<number> {
  if (cpuset === undefined) {
    throw usageError("CPULIST", "it is missing", "see `ublk set_affinity --help`");
  }
  // ublksrv puts brackets around the list.
  const cpus = parseCpus(/^\[(.*)\]$/.exec(cpuset)?.[1] ?? cpuset);
  await using control = await Control.open();
  const { ublksrv_pid: pid, nr_hw_queues: queues } = await control.getDevInfo(id);
  if (queue >= queues) {
    throw usageError("--queue", `${queue} is out of range`, `use 0 to ${queues - 1}`);
  }
  const record = recordOf(id, pid);
  if (record === undefined || !isAlive(record)) {
    throw new UblkError("CONTROL_FAILED", {
      operation: "set_affinity",
      device: id,
      reason: "there is no record of its server, whose threads nobody else knows",
      hint: "look for them in /proc/PID/task, and use taskset",
    });
  }
  const threads = await servingThreads(pid);
  // Either one thread serves all queues, or each queue has its own.
  const thread = threads.length === 1 ? threads[0] : threads[queue];
  if (thread === undefined) {
    throw new UblkError("CONTROL_FAILED", {
      operation: "set_affinity",
      device: id,
      queue,
      reason: `its server has ${threads.length} serving threads`,
    });
  }
  setAffinity(cpus, thread);
  return EXIT_OK;
}

/**
 * The serving threads of a process, in the order of their queues: Deno's Workers, which it names
 * `worker-1`, `worker-2`, … in the order of creation. A shell looks: Deno itself reads `/proc` only
 * if it has all permissions.
 */
async function servingThreads(pid: number): Promise<number[]> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: [
      "-c",
      'cd /proc/$0/task && for t in *; do read -r n <$t/comm && echo "$t $n"; done',
      `${pid}`,
    ],
    stdin: "null",
    stderr: "null",
  }).output();
  return workerThreads(new TextDecoder().decode(stdout));
}

/** The thread ids of `worker-N`, by N, from lines of `TID NAME`. */
export function workerThreads(text: string): number[] {
  return Array.from(text.matchAll(/^(\d+) worker-(\d+)$/gm), ([, id, n]) => [Number(id), Number(n)])
    .sort(([, a], [, b]) => a - b)
    .map(([id]) => id);
}
