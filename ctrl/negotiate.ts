/**
 * The request for `ADD_DEV`, and the evaluation of its answer. Pure functions; no kernel is needed.
 *
 * The driver changes requests silently: it limits the queues to its CPUs and clears flags that
 * others exclude (`ublk_ctrl_add_dev` in `drivers/block/ublk_drv.c`). So requests that are known to
 * fail are refused here, with a reason. The rest is read back, and every difference is reported in
 * words.
 *
 * @module
 */

import { DATA_PATH_FLAGS, type DataPathName } from "../uapi/data_path.ts";
import { assert, invalidIn, UblkError } from "../uapi/error.ts";
import {
  featureNames,
  UBLK_F_BATCH_IO,
  UBLK_F_INTEGRITY,
  UBLK_F_QUIESCE,
  UBLK_F_UNPRIVILEGED_DEV,
  UBLK_F_USER_RECOVERY,
  UBLK_F_USER_RECOVERY_FAIL_IO,
  UBLK_F_USER_RECOVERY_REISSUE,
  UBLK_F_ZONED,
} from "../uapi/features.ts";
import {
  UBLK_MAX_NR_QUEUES,
  UBLK_MAX_QUEUE_DEPTH,
  type ublksrv_ctrl_dev_info,
} from "../uapi/ublk_cmd.ts";
import { UBLK_IO_BUF_BITS } from "../uapi/ublk_io.ts";
import { PAGE_BYTES } from "../uring/mapping.ts";
import { choosePath, conflict, pathOf, withKernels } from "./data_path.ts";

const invalid = invalidIn("ADD_DEV");

/**
 * The maximum number of devices, `UBLK_MAX_UBLKS`: each takes one minor (`UBLK_MINORS` is 2^20).
 */
export const MAX_DEVICES: number = 2 ** 20;

/** The smallest maximum I/O, in bytes: `ublk_validate_params` requires a page. */
export const MIN_MAX_IO_BYTES: number = PAGE_BYTES;

/** The largest maximum I/O, in bytes: an offset into a request's data has 25 bits. */
export const MAX_MAX_IO_BYTES: number = 2 ** UBLK_IO_BUF_BITS;

assert(MIN_MAX_IO_BYTES < MAX_MAX_IO_BYTES, "there are sizes between them");
assert(MAX_MAX_IO_BYTES % MIN_MAX_IO_BYTES === 0, "both are whole pages");

/** The wanted properties of a device. */
export interface Wanted {
  /**
   * The device's number, or -1 for any.
   *
   * @default -1
   */
  readonly id?: number;
  /** Hardware queues; 0 means one for each CPU. */
  readonly queues: number;
  /** Requests in each queue. */
  readonly depth: number;
  /** The largest request, in bytes: whole pages. */
  readonly maxIoBytes: number;
  /**
   * The acceptable data paths, best first.
   *
   * @default ["copy"]
   */
  readonly dataPaths?: readonly DataPathName[];
  /** Required `UBLK_F_*`. Without them there is no device. */
  readonly required?: number;
  /** Optional `UBLK_F_*`. Their absence is reported as a reduction. */
  readonly optional?: number;
  /** Optional `UBLK_F_*` whose absence is not reported. */
  readonly silent?: number;
}

/** A request for `ADD_DEV`, and the wishes behind it. */
export interface Plan {
  /** The argument of `ADD_DEV`. */
  readonly info: Pick<
    ublksrv_ctrl_dev_info,
    "dev_id" | "nr_hw_queues" | "queue_depth" | "max_io_buf_bytes" | "flags"
  >;
  /** The requested data path. */
  readonly dataPath: DataPathName;
  /** The acceptable data paths. */
  readonly dataPaths: readonly DataPathName[];
  /** Required flags. */
  readonly required: number;
  /** Flags whose absence is not reported. */
  readonly silent: number;
  /** Whether we chose the number of queues, so that fewer queues are no reduction. */
  readonly anyQueues: boolean;
  /** Differences from the wishes, in words. */
  readonly reductions: readonly string[];
}

/** The kernel's grant. */
export interface Grant {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** Hardware queues. */
  readonly queues: number;
  /** Requests in each queue. */
  readonly depth: number;
  /** The largest request, in bytes. */
  readonly maxIoBytes: number;
  /** `UBLK_F_*` in force. */
  readonly flags: number;
  /** The data path. */
  readonly dataPath: DataPathName;
  /** Differences from the wishes, in words, one line each. */
  readonly reductions: readonly string[];
}

/**
 * Plans a device. Checks ranges and combinations, and picks the best data path and the optional
 * flags that this driver supports.
 *
 * @example Zero copy where the kernel has it, copies elsewhere
 * ```ts
 * import { planDevice } from "./negotiate.ts";
 * import { assertEquals } from "@std/assert";
 *
 * const features6_12 = 0x1fe;
 * const wanted = { queues: 0, depth: 128, maxIoBytes: 1 << 20 };
 * const dataPaths = ["zero-copy", "copy"] as const;
 * const plan = planDevice({ ...wanted, dataPaths }, features6_12, 4);
 * assertEquals(plan.info.nr_hw_queues, 4);
 * assertEquals(plan.dataPath, "copy");
 * assertEquals(plan.reductions.length, 1);
 * ```
 *
 * @param features The driver's `UBLK_F_*`, of `GET_FEATURES`.
 * @param cpus The number of CPUs, for `queues: 0`.
 * @throws {UblkError} `INVALID_ARGUMENT` for a wish that no kernel grants, `KERNEL_TOO_OLD` for one
 *   that this kernel lacks.
 */
export function planDevice(wanted: Wanted, features: number, cpus: number): Plan {
  const { id = -1, queues, depth, maxIoBytes, required = 0 } = wanted;
  const silent = (wanted.silent ?? 0) & features;
  const dataPaths = wanted.dataPaths ?? ["copy"];
  checkRanges(wanted);
  const reductions: string[] = [];
  requireFeatures(required, features);
  const dataPath = choosePath(dataPaths, required, features, reductions);
  const optional = welcome(wanted, dataPath, features, reductions);
  const flags = required | optional | silent | DATA_PATH_FLAGS[dataPath];
  checkCombination(flags);
  assert((flags & required) === required, "what is required is asked for");
  assert((flags & ~features) === 0, "nothing is asked for that the driver lacks");
  return {
    info: {
      dev_id: id < 0 ? 0xffff_ffff : id,
      // The kernel refuses 0, so compute "one per CPU" here.
      nr_hw_queues: queues === 0 ? Math.min(Math.max(cpus, 1), UBLK_MAX_NR_QUEUES) : queues,
      queue_depth: depth,
      max_io_buf_bytes: maxIoBytes,
      flags,
    },
    dataPath,
    dataPaths,
    required,
    silent,
    anyQueues: queues === 0,
    reductions,
  };
}

/**
 * Reads the grant of `ADD_DEV`, and reports in words where it falls short of the wishes.
 *
 * @throws {UblkError} `CONTROL_FAILED` if the grant is not usable. The device exists then, and the
 *   caller must delete it.
 */
export function readGrant(plan: Plan, info: ublksrv_ctrl_dev_info): Grant {
  const reductions = [...plan.reductions];
  const asked = plan.info;
  const { nr_hw_queues: queues, queue_depth: depth, max_io_buf_bytes: maxIoBytes, flags } = info;
  if (maxIoBytes < MIN_MAX_IO_BYTES) {
    // The driver rounds down to its own pages, which may be 16 or 64 KiB.
    throw unusable(info, `a maximum I/O of ${asked.max_io_buf_bytes} bytes is less than a page`);
  }
  if (queues < asked.nr_hw_queues && !plan.anyQueues) {
    reductions.push(
      `asked for ${count(asked.nr_hw_queues, "queue")}, the kernel granted ${queues}: ` +
        `it has ${count(queues, "CPU")}`,
    );
  }
  if (depth < asked.queue_depth) {
    reductions.push(`asked for depth ${asked.queue_depth}, the kernel granted ${depth}`);
  }
  if (maxIoBytes < asked.max_io_buf_bytes) {
    reductions.push(
      `asked for requests of ${asked.max_io_buf_bytes} bytes, the kernel granted ${maxIoBytes}`,
    );
  }
  const dataPath = pathOf(flags);
  if (dataPath !== plan.dataPath) {
    if (!plan.dataPaths.includes(dataPath)) {
      throw unusable(info, `the kernel granted data path "${dataPath}", not "${plan.dataPath}"`);
    }
    reductions.push(`the kernel refused data path "${plan.dataPath}"; using "${dataPath}"`);
  }
  reductions.push(...lostFlags(plan, info));
  return { id: info.dev_id, queues, depth, maxIoBytes, flags, dataPath, reductions };
}

function lostFlags(plan: Plan, info: ublksrv_ctrl_dev_info): string[] {
  const lost = plan.info.flags & ~info.flags & ~DATA_PATH_FLAGS[plan.dataPath];
  // For root the driver clears the unprivileged flag, and the device is a privileged one.
  const useless = lost & plan.required & ~UBLK_F_UNPRIVILEGED_DEV;
  if (useless !== 0) {
    throw unusable(info, `the kernel refused ${featureNames(useless).join(", ")}`);
  }
  return featureNames(lost & ~plan.silent).map((name) => `the kernel refused ${name}`);
}

function unusable(info: ublksrv_ctrl_dev_info, reason: string): UblkError {
  return new UblkError("CONTROL_FAILED", { operation: "ADD_DEV", device: info.dev_id, reason });
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function checkRange(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw invalid(`${what} ${value} is out of range`, `use ${min} to ${max}`);
}

/** Rejects wishes that no kernel grants, before asking any. */
function checkRanges({ id = -1, queues, depth, maxIoBytes }: Wanted): void {
  if (id !== -1) checkRange("device id", id, 0, MAX_DEVICES - 1);
  checkRange("number of queues", queues, 0, UBLK_MAX_NR_QUEUES);
  checkRange("depth", depth, 1, UBLK_MAX_QUEUE_DEPTH);
  checkRange("maximum I/O in bytes", maxIoBytes, MIN_MAX_IO_BYTES, MAX_MAX_IO_BYTES);
  // The driver rounds down silently, and buffers of the requested size would not match.
  if (maxIoBytes % PAGE_BYTES !== 0) {
    throw invalid(
      `maximum I/O ${maxIoBytes} is not a multiple of ${PAGE_BYTES} bytes`,
      `use ${MIN_MAX_IO_BYTES} to ${MAX_MAX_IO_BYTES}, whole pages`,
    );
  }
}

function requireFeatures(required: number, features: number): void {
  const missing = required & ~features;
  if (missing === 0) return;
  throw new UblkError("KERNEL_TOO_OLD", {
    operation: "ADD_DEV",
    reason: `this kernel's ublk driver lacks ${withKernels(missing)}`,
    hint: "use a newer kernel, or do without",
  });
}

/** Returns the optional flags that the driver supports and that fit the other choices. */
function welcome(
  wanted: Wanted,
  dataPath: DataPathName,
  features: number,
  reductions: string[],
): number {
  const { required = 0, optional = 0 } = wanted;
  let flags = optional & ~required;
  const missing = flags & ~features;
  if (missing !== 0) reductions.push(`the kernel lacks ${withKernels(missing)}`);
  flags &= features;
  const drop = (flag: number, why: string) => {
    if ((flags & flag) === 0 || why === "") return;
    reductions.push(`without ${featureNames(flags & flag).join(", ")}: ${why}`);
    flags &= ~flag;
  };
  for (const flag of CHOOSY) drop(flag, conflict(dataPath, flags & flag));
  if ((required | flags) & UBLK_F_UNPRIVILEGED_DEV) {
    drop(RECOVERY | UBLK_F_QUIESCE, "unprivileged devices cannot be recovered");
  }
  if (((required | flags) & UBLK_F_USER_RECOVERY) === 0) {
    drop(
      UBLK_F_QUIESCE | UBLK_F_USER_RECOVERY_REISSUE | UBLK_F_USER_RECOVERY_FAIL_IO,
      "it needs USER_RECOVERY",
    );
  }
  return flags;
}

/** Flags that conflict with some data paths. */
const CHOOSY: readonly number[] = [
  UBLK_F_UNPRIVILEGED_DEV,
  UBLK_F_ZONED,
  UBLK_F_INTEGRITY,
  UBLK_F_BATCH_IO,
];

const RECOVERY = UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE | UBLK_F_USER_RECOVERY_FAIL_IO;

/** Rejects combinations that the driver answers with EINVAL, or clears silently. */
function checkCombination(flags: number): void {
  const all = (mask: number) => (flags & mask) === mask;
  if (all(UBLK_F_USER_RECOVERY_REISSUE | UBLK_F_USER_RECOVERY_FAIL_IO)) {
    throw invalid("recovery cannot both reissue requests and fail them", "choose one");
  }
  if ((flags & UBLK_F_USER_RECOVERY) === 0 && (flags & (RECOVERY | UBLK_F_QUIESCE)) !== 0) {
    throw invalid(
      `${featureNames(flags & (RECOVERY | UBLK_F_QUIESCE)).join(", ")} needs USER_RECOVERY`,
      "add it",
    );
  }
  if ((flags & UBLK_F_UNPRIVILEGED_DEV) !== 0 && (flags & RECOVERY) !== 0) {
    throw invalid("unprivileged devices cannot be recovered", "add the device as root");
  }
}
