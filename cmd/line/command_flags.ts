/**
 * The flags of the `ublk` commands that serve nothing. They are separate from the commands' code,
 * so that help and completions load nothing else.
 *
 * @module
 */

import { IDS, JSON_FLAG, REQUIRED_ID, REQUIRED_IDS } from "./device_id.ts";
import type { Flag } from "./flags.ts";

const VERBOSE = { name: "verbose", short: "v", kind: "switch" } as const;

/** Flags of `ublk list`. */
export const LIST_FLAGS = [
  { ...IDS, help: "These devices alone, each as `ublk add` prints it." },
  { name: "all", short: "a", kind: "switch", help: "All devices, as without -n." },
  {
    name: "output",
    short: "o",
    kind: "text",
    placeholder: "COLUMNS",
    help: "The columns of the table, with commas: ID,PATH,MOUNT; +LOG: one more. " +
      "`-o help` explains them.",
  },
  { name: "noheadings", kind: "switch", help: "No line of headings above the table." },
  { ...VERBOSE, help: "As `ublk add` prints them, instead of a table." },
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk info` and `get_params`. */
export const INFO_FLAGS = [REQUIRED_IDS, JSON_FLAG] as const satisfies readonly Flag[];

/** Flags of `ublk features`. */
export const FEATURES_FLAGS = [
  { ...VERBOSE, help: "All features, with the first Linux that has each." },
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk stats`. */
export const STATS_FLAGS = [
  { ...IDS, help: "These devices alone." },
  { name: "queues", short: "q", kind: "switch", help: "Each queue too. JSON always has them." },
  JSON_FLAG,
] as const satisfies readonly Flag[];

/** Flags of `ublk top`. */
export const TOP_FLAGS = [
  { ...IDS, help: "These devices alone." },
  { name: "queues", short: "q", kind: "switch", help: "Each queue too; p on a terminal." },
  {
    name: "interval",
    kind: "number",
    placeholder: "SECONDS",
    min: 0.1,
    max: 3600,
    help: "Time between tables. Default: 1.",
  },
  {
    name: "iterations",
    kind: "integer",
    min: 1,
    help: "Print this many tables and exit, also on a terminal.",
  },
] as const satisfies readonly Flag[];

const FORCE = {
  name: "force",
  kind: "switch",
  help: "Even if the disk is mounted, held by another device or used for swap.",
} as const satisfies Flag;

/** Flags of `ublk stop`. */
export const STOP_FLAGS = [
  REQUIRED_IDS,
  { name: "safe", kind: "switch", help: "Let the kernel check for users (Linux 7.0)." },
  FORCE,
] as const satisfies readonly Flag[];

/** Flags of `ublk del`. */
export const DEL_FLAGS = [
  IDS,
  {
    name: "all",
    short: "a",
    kind: "switch",
    help: "All devices, also those whose server was killed; of another user than root, all of " +
      "that user's.",
  },
  { name: "async", kind: "switch", help: "Do not wait until the id is free (Linux 6.10)." },
  FORCE,
] as const satisfies readonly Flag[];

/** Flags of `ublk update_size`. */
export const UPDATE_SIZE_FLAGS = [
  REQUIRED_ID,
  { name: "size", short: "s", kind: "size", required: true, help: "The new size: bytes, 1G, …" },
] as const satisfies readonly Flag[];

/** Flags of `ublk quiesce`. */
export const QUIESCE_FLAGS = [
  REQUIRED_IDS,
  {
    name: "timeout-ms",
    kind: "integer",
    min: 1,
    max: 3_600_000,
    // kublk has the same default.
    help: "Time limit for requests in flight, in ms. Default: 10000.",
  },
] as const satisfies readonly Flag[];

/** Flags of `ublk set_affinity`. */
export const SET_AFFINITY_FLAGS = [
  REQUIRED_ID,
  {
    name: "queue",
    short: "q",
    kind: "integer",
    required: true,
    min: 0,
    help: "Which queue's thread, from 0.",
  },
  {
    name: "cpuset",
    kind: "text",
    placeholder: "CPULIST",
    help: "CPULIST, as ublksrv has it.",
  },
] as const satisfies readonly Flag[];
