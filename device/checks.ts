/**
 * What is wrong with a device's options, as far as that can be told without a kernel or a backend.
 *
 * @module
 */

import { checkRanges } from "../ctrl/negotiate.ts";
import { checkIntegrity } from "../ctrl/params.ts";
import { DATA_PATHS } from "../uapi/data_path.ts";
import { UblkError } from "../uapi/error.ts";
import { CPU_SET_BYTES } from "../uring/libc.ts";
import type { Settings } from "./options.ts";
import { RECOVERY_MODES } from "./recovery_mode.ts";

const MIN_DEADLINE_MS = 100;
/** A deadline is a word of the control block. More than three weeks is no deadline. */
const MAX_DEADLINE_MS = 2 ** 31 - 1;
/** As many as `UBLK_MAX_NR_QUEUES`: each is an operating system's thread with a heap of its own. */
const MAX_THREADS = 4096;

/**
 * Checks options with their defaults filled in.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line about the first thing that is wrong.
 */
export function checkSettings(settings: Settings): void {
  const { deadlineMs, dataPath, recovery, integrity } = settings;
  const isInRange = deadlineMs >= MIN_DEADLINE_MS && deadlineMs <= MAX_DEADLINE_MS;
  if (!Number.isInteger(deadlineMs) || !isInRange) {
    throw invalid(
      `deadlineMs ${deadlineMs} is out of range`,
      `use a whole number of milliseconds from ${MIN_DEADLINE_MS} to ${MAX_DEADLINE_MS}`,
    );
  }
  checkRanges(settings);
  checkName("dataPath", dataPath, DATA_PATHS);
  checkName("recovery", recovery, RECOVERY_MODES);
  checkThreads(settings);
  checkAffinity(settings.affinity);
  checkSharedMemory(settings.sharedMemory);
  if (integrity === undefined) return;
  checkIntegrity(integrity);
  if (dataPath !== undefined && dataPath !== "user-copy") {
    throw invalid(
      `integrity metadata does not travel by data path "${dataPath}"`,
      'use "user-copy", or leave dataPath out',
    );
  }
}

function checkName(what: string, name: string | undefined, names: readonly string[]): void {
  if (name === undefined || names.includes(name)) return;
  throw invalid(`${what} ${JSON.stringify(name)} is not known`, `use ${names.join(", ")}`);
}

function checkThreads({ threads, queues, perIoDaemons, batch }: Settings): void {
  if (perIoDaemons && batch) {
    throw invalid("perIoDaemons and batch exclude one another", "choose one");
  }
  if (threads === undefined) return;
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw invalid(`${threads} serving threads are not possible`, `use 1 to ${MAX_THREADS}`);
  }
  // One thread is right for a backend of one thread; and how many queues 0 makes is not known yet.
  if (perIoDaemons || batch || threads === 1 || queues === 0 || threads === queues) return;
  throw invalid(
    `${threads} threads cannot share ${queues} ${queues === 1 ? "queue" : "queues"}`,
    "ask for as many threads as queues, or for perIoDaemons or batch",
  );
}

function checkAffinity(lists: Settings["affinity"]): void {
  if (lists === undefined) return;
  const most = CPU_SET_BYTES * 8 - 1;
  const isCpu = (cpu: number) => Number.isInteger(cpu) && cpu >= 0 && cpu <= most;
  if (Array.isArray(lists) && lists.every((list) => Array.isArray(list) && list.every(isCpu))) {
    return;
  }
  throw invalid(
    "affinity is not a list of lists of CPU numbers",
    `use one list for each thread, with numbers from 0 to ${most}, as [[0], [1]]`,
  );
}

function checkSharedMemory(memory: Settings["sharedMemory"]): void {
  if (memory === undefined) return;
  if (typeof memory.path === "string" && memory.path !== "" && !memory.path.includes("\0")) return;
  throw invalid("sharedMemory has no path", "name a file in hugetlbfs");
}

/** An error of the caller's. */
export function invalid(reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: "serve", reason, hint });
}
