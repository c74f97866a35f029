/**
 * The control commands as data: name, opcode, time limit, and a hint for the case that the kernel
 * does not answer.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { CTRL_CMD_BYTES } from "../uapi/offsets.ts";
import {
  UBLK_U_CMD_ADD_DEV,
  UBLK_U_CMD_DEL_DEV,
  UBLK_U_CMD_DEL_DEV_ASYNC,
  UBLK_U_CMD_END_USER_RECOVERY,
  UBLK_U_CMD_GET_DEV_INFO,
  UBLK_U_CMD_GET_DEV_INFO2,
  UBLK_U_CMD_GET_FEATURES,
  UBLK_U_CMD_GET_PARAMS,
  UBLK_U_CMD_GET_QUEUE_AFFINITY,
  UBLK_U_CMD_QUIESCE_DEV,
  UBLK_U_CMD_REG_BUF,
  UBLK_U_CMD_SET_PARAMS,
  UBLK_U_CMD_START_DEV,
  UBLK_U_CMD_START_USER_RECOVERY,
  UBLK_U_CMD_STOP_DEV,
  UBLK_U_CMD_TRY_STOP_DEV,
  UBLK_U_CMD_UNREG_BUF,
  UBLK_U_CMD_UPDATE_SIZE,
} from "../uapi/ublk_cmd.ts";

/** One control command. */
export interface Command {
  /** The kernel's name without `UBLK_U_CMD_`. */
  readonly name: string;
  /** The ioctl-encoded opcode. */
  readonly cmdOp: number;
  /** The first kernel version with the command. */
  readonly kernel: string;
  /** Default time limit for the answer, in milliseconds. */
  readonly timeoutMs: number;
  /** A likely reason for a missing answer, and a remedy. */
  readonly whenSilent: string;
  /**
   * Whether a caller that aborts the command still waits for the kernel's answer. The command needs
   * the serving threads, which must run until it is done.
   */
  readonly untilAnswered: boolean;
}

/** The time limit of most commands, in milliseconds. Normally they take one or two. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** The time limit of commands that wait for I/O, in milliseconds. */
export const SLOW_TIMEOUT_MS = 60_000;

const LOCKED = "another control command holds the driver: look at `dmesg` for a hung task";
const FETCHING = "it waits until every tag of every queue is fetched: see whether a serving " +
  "thread died or never started";
const DRAINING = "it waits for requests that the server holds: end the server, and its " +
  "requests fail";
const CLOSING =
  "it waits until /dev/ublkcN is closed everywhere and nobody uses the disk: end the " +
  "server, and unmount or close the disk";

function command(
  name: string,
  cmdOp: number,
  kernel: string,
  whenSilent: string = LOCKED,
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
): Command {
  return { name, cmdOp, kernel, timeoutMs, whenSilent, untilAnswered: false };
}

/**
 * Makes a command during which the kernel depends on the threads that have fetched the tags. Before
 * Linux 7.0 it reads the partition table through those threads: when eight servers started at once
 * on a busy machine, one had not finished after 10 s.
 */
function relyingCommand(name: string, cmdOp: number, kernel: string): Command {
  return { ...command(name, cmdOp, kernel, FETCHING, SLOW_TIMEOUT_MS), untilAnswered: true };
}

/** `UBLK_U_CMD_GET_FEATURES`. */
export const GET_FEATURES: Command = command("GET_FEATURES", UBLK_U_CMD_GET_FEATURES, "6.5");
/** `UBLK_U_CMD_ADD_DEV`. */
export const ADD_DEV: Command = command("ADD_DEV", UBLK_U_CMD_ADD_DEV, "6.0");
/** `UBLK_U_CMD_DEL_DEV`: waits until the char device is closed, and stops the disk first. */
export const DEL_DEV: Command = command(
  "DEL_DEV",
  UBLK_U_CMD_DEL_DEV,
  "6.0",
  CLOSING,
  SLOW_TIMEOUT_MS,
);
/** `UBLK_U_CMD_DEL_DEV_ASYNC`: does not wait for the char device, but still stops the disk. */
export const DEL_DEV_ASYNC: Command = command(
  "DEL_DEV_ASYNC",
  UBLK_U_CMD_DEL_DEV_ASYNC,
  "6.9",
  DRAINING,
  SLOW_TIMEOUT_MS,
);
/** `UBLK_U_CMD_START_DEV`. */
export const START_DEV: Command = relyingCommand("START_DEV", UBLK_U_CMD_START_DEV, "6.0");
/** `UBLK_U_CMD_STOP_DEV`: flushes dirty pages through the device and drains it. */
export const STOP_DEV: Command = command(
  "STOP_DEV",
  UBLK_U_CMD_STOP_DEV,
  "6.0",
  DRAINING,
  SLOW_TIMEOUT_MS,
);
/** `UBLK_U_CMD_TRY_STOP_DEV`. */
export const TRY_STOP_DEV: Command = command(
  "TRY_STOP_DEV",
  UBLK_U_CMD_TRY_STOP_DEV,
  "7.0",
  DRAINING,
  SLOW_TIMEOUT_MS,
);
/** `UBLK_U_CMD_SET_PARAMS`. */
export const SET_PARAMS: Command = command("SET_PARAMS", UBLK_U_CMD_SET_PARAMS, "6.0");
/** `UBLK_U_CMD_GET_PARAMS`. */
export const GET_PARAMS: Command = command("GET_PARAMS", UBLK_U_CMD_GET_PARAMS, "6.0");
/** `UBLK_U_CMD_GET_DEV_INFO`. */
export const GET_DEV_INFO: Command = command("GET_DEV_INFO", UBLK_U_CMD_GET_DEV_INFO, "6.0");
/** `UBLK_U_CMD_GET_DEV_INFO2`: works for unprivileged devices too. */
export const GET_DEV_INFO2: Command = command("GET_DEV_INFO2", UBLK_U_CMD_GET_DEV_INFO2, "6.3");
/** `UBLK_U_CMD_GET_QUEUE_AFFINITY`. */
export const GET_QUEUE_AFFINITY: Command = command(
  "GET_QUEUE_AFFINITY",
  UBLK_U_CMD_GET_QUEUE_AFFINITY,
  "6.0",
);
/** `UBLK_U_CMD_START_USER_RECOVERY`. */
export const START_USER_RECOVERY: Command = command(
  "START_USER_RECOVERY",
  UBLK_U_CMD_START_USER_RECOVERY,
  "6.1",
);
/** `UBLK_U_CMD_END_USER_RECOVERY`. */
export const END_USER_RECOVERY: Command = relyingCommand(
  "END_USER_RECOVERY",
  UBLK_U_CMD_END_USER_RECOVERY,
  "6.1",
);
/** `UBLK_U_CMD_UPDATE_SIZE`. */
export const UPDATE_SIZE: Command = command("UPDATE_SIZE", UBLK_U_CMD_UPDATE_SIZE, "6.16");
/** `UBLK_U_CMD_QUIESCE_DEV`. */
export const QUIESCE_DEV: Command = command("QUIESCE_DEV", UBLK_U_CMD_QUIESCE_DEV, "6.16");
/** `UBLK_U_CMD_REG_BUF`. */
export const REG_BUF: Command = command("REG_BUF", UBLK_U_CMD_REG_BUF, "7.1");
/** `UBLK_U_CMD_UNREG_BUF`. */
export const UNREG_BUF: Command = command("UNREG_BUF", UBLK_U_CMD_UNREG_BUF, "7.1");

/** All commands. Each has its own opcode, which identifies it, also in errors. */
const ALL = [
  ...[ADD_DEV, DEL_DEV, DEL_DEV_ASYNC, START_DEV, STOP_DEV, TRY_STOP_DEV, SET_PARAMS, GET_PARAMS],
  ...[GET_DEV_INFO, GET_DEV_INFO2, GET_QUEUE_AFFINITY, GET_FEATURES, START_USER_RECOVERY],
  ...[END_USER_RECOVERY, UPDATE_SIZE, QUIESCE_DEV, REG_BUF, UNREG_BUF],
];
assert(
  new Set(ALL.map(({ cmdOp }) => cmdOp)).size === ALL.length,
  "no two are the same to the kernel",
);
assert(new Set(ALL.map(({ name }) => name)).size === ALL.length, "or to a reader");
for (const { cmdOp } of ALL) {
  // _IOC_SIZE is the 14 bits from bit 16.
  assert(((cmdOp >>> 16) & 0x3fff) === CTRL_CMD_BYTES, "the opcode has the size of the argument");
}
