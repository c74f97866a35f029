/**
 * The rows of the table of device options, grouped by topic.
 *
 * The code of a new option is one row here, one member of `DeviceOptions` (the compiler insists on
 * it), and one use. Help texts end without a full stop, because the kernel version and default are appended.
 *
 * @module
 */

import { MAX_DEVICES, MAX_MAX_IO_BYTES, MIN_MAX_IO_BYTES } from "../ctrl/negotiate.ts";
import { MAX_PHYSICAL_BYTES, MAX_PORTION_BYTES } from "../ctrl/params.ts";
import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { CHECKSUMS } from "../uapi/integrity.ts";
import { DATA_PATHS } from "../uapi/data_path.ts";
import {
  UBLK_F_BATCH_IO,
  UBLK_F_INTEGRITY,
  UBLK_F_NO_AUTO_PART_SCAN,
  UBLK_F_PER_IO_DAEMON,
  UBLK_F_SHMEM_ZC,
  UBLK_F_UNPRIVILEGED_DEV,
} from "../uapi/features.ts";
import { UBLK_MAX_NR_QUEUES, UBLK_MAX_QUEUE_DEPTH } from "../uapi/ublk_cmd.ts";
import type { DeviceOption } from "./option_row.ts";
import { RECOVERY_MODES } from "./recovery_mode.ts";

/**
 * The longest discard or write-zeroes, in bytes. A slow one would hold up its queue and run into
 * its deadline.
 */
export const MAX_RANGE_BYTES: number = 64 << 20;

/** Queues, their size and the threads that serve them. */
export const QUEUES = [
  {
    member: "id",
    flag: "id",
    short: "n",
    kind: "integer",
    placeholder: "ID",
    min: -1,
    max: MAX_DEVICES - 1,
    otherwise: "-1, the kernel's choice",
    fixed: true,
    help: "The N of /dev/ublkbN",
  },
  {
    member: "queues",
    flag: "queues",
    short: "q",
    kind: "integer",
    min: 0,
    max: UBLK_MAX_NR_QUEUES,
    default: 1,
    fixed: true,
    help: "Hardware queues; 0: one per CPU",
  },
  {
    member: "depth",
    flag: "depth",
    short: "d",
    kind: "integer",
    min: 1,
    max: UBLK_MAX_QUEUE_DEPTH,
    default: 128,
    fixed: true,
    help: `Requests in flight per queue, 1 to ${UBLK_MAX_QUEUE_DEPTH}`,
  },
  {
    member: "maxIoBytes",
    flag: "max-io",
    kind: "size",
    min: MIN_MAX_IO_BYTES,
    max: MAX_MAX_IO_BYTES,
    multipleOf: MIN_MAX_IO_BYTES,
    // ublksrv has the same default.
    default: 512 << 10,
    fixed: true,
    help: "The largest request, 4K to 32M in whole pages",
  },
  {
    member: "threads",
    flag: "threads",
    kind: "integer",
    min: 1,
    // Each is an OS thread with its own heap.
    max: UBLK_MAX_NR_QUEUES,
    otherwise: "one per queue, or one for a backend that runs in one thread",
    help: "Serving threads. A number other than one or the number of queues needs " +
      "--per-io-daemons or --batch",
  },
  {
    member: "affinity",
    flag: "affinity",
    kind: "text",
    asText: true,
    placeholder: "CPULISTS",
    otherwise: "the CPUs of the thread's queue",
    help: "The CPUs of each thread, separated by colons: 0-1:2-3",
  },
  {
    member: "perIoDaemons",
    flag: "per-io-daemons",
    kind: "switch",
    default: false,
    feature: UBLK_F_PER_IO_DAEMON,
    excludes: ["batch"],
    help: "Every thread serves tags of every queue",
  },
  {
    member: "batch",
    flag: "batch",
    short: "b",
    kind: "switch",
    default: false,
    feature: UBLK_F_BATCH_IO,
    fixed: true,
    help: "Many requests per command",
  },
] as const satisfies readonly DeviceOption[];

/** The transfer of data, and the requests that the kernel passes on. */
export const DATA = [
  {
    member: "readOnly",
    flag: "read-only",
    kind: "switch",
    default: false,
    fixed: true,
    help: "The kernel refuses writes",
  },
  {
    member: "dataPath",
    flag: "data-path",
    kind: "text",
    placeholder: "PATH",
    choices: DATA_PATHS,
    otherwise: "the best one that backend, driver and kernel support",
    fixed: true,
    help: `The data path: ${DATA_PATHS.join(", ")}`,
  },
  {
    member: "fixedFile",
    flag: "no-fixed-file",
    negated: true,
    kind: "switch",
    default: true,
    help: "The rings do not know the device as a registered file",
  },
  {
    member: "sharedMemory.path",
    flag: "shared-memory",
    kind: "path",
    otherwise: "none",
    feature: UBLK_F_SHMEM_ZC,
    help: "Memory that clients share with the server, a file in hugetlbfs",
  },
  {
    member: "sharedMemory.readOnly",
    flag: "shared-memory-read-only",
    kind: "switch",
    default: false,
    needs: "sharedMemory.path",
    without: "there is no memory to share",
    help: "Map it read-only: it then serves only WRITEs",
  },
  {
    member: "noPartitionScan",
    flag: "no-partition-scan",
    kind: "switch",
    default: false,
    feature: UBLK_F_NO_AUTO_PART_SCAN,
    fixed: true,
    help: "Do not look for partitions",
  },
] as const satisfies readonly DeviceOption[];

/** The life of the device and its supervision. */
export const LIFE = [
  {
    member: "recovery",
    flag: "recovery",
    short: "r",
    kind: "text",
    placeholder: "MODE",
    choices: RECOVERY_MODES,
    otherwise: "the device is deleted with its server",
    fixed: true,
    help: "The fate of requests after the server dies, until `ublk recover`: queue: those in " +
      "flight fail, new ones wait; reissue: all wait; fail: all fail",
  },
  {
    member: "unprivileged",
    flag: "unprivileged",
    kind: "switch",
    otherwise: "true if the process lacks CAP_SYS_ADMIN",
    feature: UBLK_F_UNPRIVILEGED_DEV,
    fixed: true,
    help: "Make a private device of this user",
  },
  {
    member: "deadlineMs",
    flag: "deadline",
    kind: "time",
    min: 100,
    // The control block stores it in a 32-bit word.
    max: 2 ** 31 - 1,
    multipleOf: 1,
    default: 20_000,
    help: "The longest time for a request in the backend",
  },
  {
    member: "paranoid",
    kind: "switch",
    default: false,
    help: "Catch backends that keep a buffer",
  },
  {
    member: "logLevel",
    kind: "integer",
    min: 0,
    default: 20,
    help: "The lowest level that is logged",
  },
] as const satisfies readonly DeviceOption[];

const NO_METADATA = { needs: "integrity.metadataSize", without: "there is no metadata" } as const;

/** Hints about efficient use of the disk. */
export const TOPOLOGY = [
  {
    member: "topology.rotational",
    flag: "rotational",
    kind: "switch",
    otherwise: "as the backend says",
    fixed: true,
    help: "A rotating disk",
  },
  {
    member: "topology.physicalBlockSize",
    flag: "physical-block-size",
    kind: "size",
    min: BLOCK_SIZES[0],
    max: MAX_PHYSICAL_BYTES,
    powerOfTwo: true,
    otherwise: "as the backend says, or 4096",
    fixed: true,
    help: "The physical block: the smallest write without a read before it",
  },
  {
    member: "topology.ioOptBytes",
    flag: "io-opt",
    kind: "size",
    min: BLOCK_SIZES[0],
    max: MAX_PHYSICAL_BYTES,
    powerOfTwo: true,
    otherwise: "as the backend says",
    fixed: true,
    help: "The optimal request size",
  },
  {
    member: "topology.discardGranularityBytes",
    flag: "discard-granularity",
    kind: "size",
    min: BLOCK_SIZES[0],
    max: MAX_RANGE_BYTES,
    multipleOf: BLOCK_SIZES[0],
    otherwise: "as the backend says, or the physical block",
    fixed: true,
    help: "The unit in which space is freed",
  },
] as const satisfies readonly DeviceOption[];

/** Integrity metadata beside the data. */
export const INTEGRITY = [
  {
    member: "integrity.metadataSize",
    flag: "metadata-size",
    kind: "integer",
    placeholder: "BYTES",
    min: 1,
    max: MAX_PORTION_BYTES,
    otherwise: "none",
    feature: UBLK_F_INTEGRITY,
    fixed: true,
    help: "Integrity metadata per block. It travels by user-copy",
  },
  {
    member: "integrity.piOffset",
    flag: "pi-offset",
    kind: "integer",
    placeholder: "BYTES",
    min: 0,
    max: MAX_PORTION_BYTES,
    default: 0,
    fixed: true,
    ...NO_METADATA,
    help: "The offset of the protection information in the metadata",
  },
  {
    member: "integrity.checksum",
    flag: "checksum",
    kind: "text",
    placeholder: "TYPE",
    choices: Object.keys(CHECKSUMS),
    otherwise: "none",
    fixed: true,
    ...NO_METADATA,
    help: `Its checksum: ${Object.keys(CHECKSUMS).join(", ")}`,
  },
  {
    member: "integrity.tagSize",
    flag: "tag-size",
    kind: "integer",
    placeholder: "BYTES",
    min: 0,
    max: MAX_PORTION_BYTES,
    default: 0,
    fixed: true,
    ...NO_METADATA,
    help: "Bytes of the application tag",
  },
  {
    member: "integrity.capable",
    flag: "integrity-capable",
    kind: "switch",
    default: false,
    fixed: true,
    ...NO_METADATA,
    help: "The device keeps integrity metadata and can check it",
  },
  {
    member: "integrity.refTag",
    flag: "reference-tag",
    kind: "switch",
    default: false,
    fixed: true,
    ...NO_METADATA,
    help: "Blocks carry a reference tag. Needs --checksum",
  },
] as const satisfies readonly DeviceOption[];
