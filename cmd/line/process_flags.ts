/**
 * The flags of every server that concern its process rather than its disk, and their values as
 * options. See `docs/running.md`.
 *
 * @module
 */

import { parseCpus } from "./cpus.ts";
import type { ProcessOptions } from "../devices/disk_request.ts";
import type { Flag, Values } from "./flags.ts";

/** The flags of the server's process. */
export const PROCESS_FLAGS = [
  {
    name: "mlock",
    kind: "switch",
    help: "Lock the server's memory, so that it is never swapped out.",
  },
  {
    name: "io-flusher",
    kind: "switch",
    help: "The server's threads never wait for I/O to get memory.",
  },
  {
    name: "oom-score",
    kind: "integer",
    placeholder: "N",
    min: -1000,
    max: 1000,
    help: "What is added to the server's chance of being ended when memory is " +
      "short; -1000: never.",
  },
  {
    name: "cpus",
    kind: "text",
    placeholder: "CPULIST",
    help: "The CPUs that the server may run on: 0-3,8. Default: the caller's.",
  },
] as const satisfies readonly Flag[];

/**
 * Converts the flags to options.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for an invalid list of CPUs.
 */
export function processOptions(values: Values<typeof PROCESS_FLAGS>): ProcessOptions {
  const { mlock, "io-flusher": ioFlusher, "oom-score": oomScore, cpus } = values;
  return { mlock, ioFlusher, oomScore, cpus: cpus === undefined ? undefined : parseCpus(cpus) };
}

/** Whether any of these options is set. */
export function asksOfProcess({ mlock, ioFlusher, oomScore, cpus }: ProcessOptions): boolean {
  return mlock || ioFlusher || oomScore !== undefined || cpus !== undefined;
}
