/**
 * Lists of CPUs in the kernel's format.
 *
 * @module
 */

import { CPU_SET_BYTES } from "../../uring/libc.ts";
import { usageError } from "./flags.ts";

/**
 * Parses a list of CPUs in the kernel's format: `0-3,8`.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function parseCpus(text: string): number[] {
  const most = CPU_SET_BYTES * 8 - 1;
  const cpus = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first || last > most) {
      throw usageError(text, "it is not a list of CPUs", `write one such as 0-3,8, up to ${most}`);
    }
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

/**
 * Parses one list per thread, separated by colons: `0-1:2-3`. An empty list leaves its thread's
 * affinity unchanged.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function parseCpuLists(text: string): number[][] {
  return text.split(":").map((list) => list === "" ? [] : parseCpus(list));
}
