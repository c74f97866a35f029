/**
 * The flags of `ublk add` and `ublk recover` that say how a device is served, whatever its target;
 * and what they come to as {@linkcode DeviceOptions}. Each has the meaning that it has for `kublk`,
 * the C server of the kernel's selftests, under that name and under a readable one.
 *
 * @module
 */

import { BLOCK_SIZES } from "../../uapi/block_sizes.ts";
import { type Checksum, CHECKSUMS } from "../../uapi/integrity.ts";
import { MAX_DEVICES, MAX_MAX_IO_BYTES, MIN_MAX_IO_BYTES } from "../../ctrl/negotiate.ts";
import type { DeviceOptions, IntegrityOptions } from "../../device/options.ts";
import type { RecoveryMode } from "../../device/recovery_mode.ts";
import { DATA_PATHS, type DataPathName } from "../../uapi/data_path.ts";
import { UBLK_MAX_NR_QUEUES, UBLK_MAX_QUEUE_DEPTH } from "../../uapi/ublk_cmd.ts";
import { parseCpuLists } from "./cpus.ts";
import { type Flag, usageError, type Values } from "./flags.ts";
import { PROCESS_FLAGS } from "./process_flags.ts";

/** As `kublk` has it. */
const DEFAULT_QUEUES = 2;
/** As `kublk` has it: `UBLK_IO_MAX_BYTES` in its `kublk.h`. */
const DEFAULT_MAX_IO_BYTES = 1 << 20;
/** `metadata_size` of `struct ublk_param_integrity` has eight bits. */
const MAX_METADATA_BYTES = 255;

/** The flags. */
export const DEVICE_FLAGS = [
  {
    name: "id",
    short: "n",
    aliases: ["number"],
    kind: "integer",
    placeholder: "ID",
    min: -1,
    max: MAX_DEVICES - 1,
    help: "The N of /dev/ublkbN; -1: the kernel's choice.",
  },
  {
    name: "queues",
    short: "q",
    kind: "integer",
    min: 0,
    max: UBLK_MAX_NR_QUEUES,
    help: `Hardware queues; 0: one per CPU. Default: ${DEFAULT_QUEUES}.`,
  },
  {
    name: "depth",
    short: "d",
    kind: "integer",
    min: 1,
    max: UBLK_MAX_QUEUE_DEPTH,
    help: `Requests in flight per queue, 1 to ${UBLK_MAX_QUEUE_DEPTH}. Default: 128.`,
  },
  {
    name: "max-io",
    kind: "size",
    min: MIN_MAX_IO_BYTES,
    max: MAX_MAX_IO_BYTES,
    multipleOf: MIN_MAX_IO_BYTES,
    help: "The largest request, 4K to 32M in whole pages. Default: 1M.",
  },
  {
    name: "block-size",
    kind: "size",
    choices: BLOCK_SIZES,
    help: `Logical block: ${BLOCK_SIZES.join(", ")} bytes.\n` +
      "Default: 512, or that of a device below.",
  },
  { name: "read-only", kind: "switch", help: "The kernel refuses writes." },
  {
    name: "threads",
    aliases: ["nthreads"],
    kind: "integer",
    min: 1,
    max: UBLK_MAX_NR_QUEUES,
    help: "Serving threads. Default: one per queue. Another number needs\n" +
      "--per-io-daemons or --batch.",
  },
  {
    name: "affinity",
    kind: "text",
    placeholder: "CPULISTS",
    help: "CPUs for each thread, with colons between: 0-1:2-3. Default: those of\n" +
      "its queue.",
  },
  {
    name: "per-io-daemons",
    aliases: ["per-io-tasks"],
    kind: "switch",
    help: "Every thread serves tags of every queue (Linux 6.16).",
  },
  { name: "batch", short: "b", kind: "switch", help: "Many requests per command (Linux 7.0)." },
  {
    name: "data-path",
    kind: "text",
    placeholder: "PATH",
    choices: DATA_PATHS,
    help: `How data travels: ${DATA_PATHS.slice(0, 4).join(", ")},\n` +
      `${DATA_PATHS.slice(4).join(", ")}. Default: the best that goes.`,
  },
  {
    name: "get-data",
    short: "g",
    kind: "switch",
    takesBit: true,
    help: "--data-path get-data.",
  },
  { name: "user-copy", short: "u", kind: "switch", help: "--data-path user-copy." },
  { name: "zero-copy", short: "z", kind: "switch", help: "--data-path zero-copy (Linux 6.15)." },
  {
    name: "auto-zero-copy",
    aliases: ["auto-zc"],
    kind: "switch",
    help: "--data-path auto-zero-copy (Linux 6.16).",
  },
  {
    name: "auto-zero-copy-fallback",
    aliases: ["auto-zc-fallback"],
    kind: "switch",
    help: "With both --zero-copy and --auto-zero-copy: make the automatic one\n" +
      "fail for each request, to exercise the other.",
  },
  {
    name: "no-fixed-file",
    aliases: ["no-ublk-fixed-fd"],
    kind: "switch",
    help: "The rings do not know the device as a registered file.",
  },
  {
    name: "recovery",
    short: "r",
    kind: "text",
    placeholder: "MODE",
    choices: ["0", "1", "queue", "reissue", "fail"],
    help: "What becomes of requests when the server dies, until `ublk recover`:\n" +
      "queue (or 1): those in flight fail, new ones wait; reissue: all wait;\n" +
      "fail: all fail. Default: 0, and the device goes too.",
  },
  {
    name: "recovery-reissue",
    short: "i",
    kind: "integer",
    placeholder: "0|1",
    choices: [0, 1],
    help: "1: --recovery reissue.",
  },
  {
    name: "recovery-fail-io",
    short: "e",
    kind: "integer",
    placeholder: "0|1",
    choices: [0, 1],
    help: "1: --recovery fail.",
  },
  {
    name: "resume",
    kind: "switch",
    help: "Go on with what a server before has left of the device: recover it, or\n" +
      "make it anew where that does not go. Needs --id.",
  },
  {
    name: "unprivileged",
    kind: "switch",
    help: "A device of this user's own. Default where the user is not root.",
  },
  {
    name: "no-partition-scan",
    aliases: ["no-auto-part-scan"],
    kind: "switch",
    help: "Do not look for partitions (Linux 7.0).",
  },
  {
    name: "metadata-size",
    kind: "integer",
    placeholder: "BYTES",
    min: 1,
    max: MAX_METADATA_BYTES,
    help: "Integrity metadata per block (Linux 7.0). Needs --user-copy.",
  },
  {
    name: "pi-offset",
    kind: "integer",
    placeholder: "BYTES",
    min: 0,
    max: MAX_METADATA_BYTES,
    help: "Where in the metadata the protection information begins. Default: 0.",
  },
  {
    name: "checksum",
    aliases: ["csum-type"],
    kind: "text",
    placeholder: "TYPE",
    choices: ["ip", "t10dif", "nvme"],
    help: "Its checksum: ip, t10dif or nvme. Default: none.",
  },
  {
    name: "tag-size",
    kind: "integer",
    placeholder: "BYTES",
    min: 0,
    max: MAX_METADATA_BYTES,
    help: "Bytes of the application tag. Default: 0.",
  },
  {
    name: "integrity-capable",
    kind: "switch",
    help: "The device keeps integrity metadata and can check it.",
  },
  {
    name: "reference-tag",
    aliases: ["integrity-reftag"],
    kind: "switch",
    help: "Blocks carry a reference tag. Needs --checksum.",
  },
  {
    name: "shared-memory",
    kind: "path",
    help: "Memory that clients share with the server, a file in hugetlbfs:\n" +
      "--shmem-zc with --htlb PATH (Linux 7.1).",
  },
  { name: "shmem-zc", kind: "switch", help: "Zero copy by way of --htlb PATH." },
  { name: "htlb", kind: "path", help: "The file for --shmem-zc." },
  {
    name: "shared-memory-read-only",
    aliases: ["rdonly-shmem-buf"],
    kind: "switch",
    help: "Map it for reading only: it then serves WRITEs alone.",
  },
  {
    name: "deadline",
    kind: "time",
    min: 100,
    help: "How long the backend may take over a request. Default: 20s.",
  },
  ...PROCESS_FLAGS,
] as const satisfies readonly Flag[];

/** Their values. */
export type DeviceValues = Values<typeof DEVICE_FLAGS>;

/** What they come to. */
export type ServingOptions = Omit<DeviceOptions, "backend" | "signal">;

/**
 * The flags as options.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`: one line about what contradicts what.
 */
export function servingOptions(values: DeviceValues): ServingOptions {
  const queues = values.queues ?? DEFAULT_QUEUES;
  const dataPath = dataPathOf(values);
  checkThreads(values, queues, dataPath);
  const { affinity } = values;
  const id = values.id === -1 ? undefined : values.id;
  if (values.resume && id === undefined) {
    throw usageError("--resume", "it is not said which device", "give --id too");
  }
  return {
    ...(id === undefined ? {} : { id }),
    queues,
    depth: values.depth ?? 128,
    maxIoBytes: values["max-io"] ?? DEFAULT_MAX_IO_BYTES,
    readOnly: values["read-only"],
    dataPath,
    batch: values.batch,
    threads: values.threads,
    affinity: affinity === undefined ? undefined : parseCpuLists(affinity),
    perIoDaemons: values["per-io-daemons"],
    fixedFile: !values["no-fixed-file"],
    recovery: recoveryOf(values),
    unprivileged: values.unprivileged || undefined,
    noPartitionScan: values["no-partition-scan"],
    integrity: integrityOf(values, dataPath),
    sharedMemory: sharedMemoryOf(values),
    deadlineMs: values.deadline,
  };
}

/** As in kublk's `main`: one way at most, of which the fallback is one although it takes three. */
function dataPathOf(values: DeviceValues): DataPathName | undefined {
  const fallback = values["auto-zero-copy-fallback"];
  if (fallback && !(values["zero-copy"] && values["auto-zero-copy"])) {
    throw usageError(
      "--auto-zero-copy-fallback",
      "it is of no use by itself",
      "give --zero-copy and --auto-zero-copy too",
    );
  }
  const chosen: [string, DataPathName][] = [];
  const add = (flag: string, given: boolean, path: DataPathName) => {
    if (given) chosen.push([flag, path]);
  };
  add("--get-data", values["get-data"], "get-data");
  add("--user-copy", values["user-copy"], "user-copy");
  add("--zero-copy", values["zero-copy"] && !fallback, "zero-copy");
  add("--auto-zero-copy", values["auto-zero-copy"] && !fallback, "auto-zero-copy");
  add("--auto-zero-copy-fallback", fallback, "auto-zero-copy-fallback");
  const named = values["data-path"];
  if (named !== undefined) chosen.push(["--data-path", named as DataPathName]);
  if (chosen.length > 1) {
    const [[first], [second]] = chosen;
    throw usageError(`${first} and ${second}`, "data travels one way only", "give one of them");
  }
  return chosen[0]?.[1];
}

function checkThreads(
  values: DeviceValues,
  queues: number,
  dataPath: DataPathName | undefined,
): void {
  const { threads, batch, "per-io-daemons": perIo } = values;
  if (perIo && batch) {
    throw usageError("--per-io-daemons and --batch", "they exclude each other", "give one of them");
  }
  if (threads === undefined || threads === queues) return;
  if (!perIo && !batch) {
    throw usageError(
      "--threads",
      `${threads} is not the number of queues (${queues === 0 ? "one per CPU" : queues})`,
      "leave it out, or add --per-io-daemons or --batch",
    );
  }
  const automatic = dataPath === "auto-zero-copy" || dataPath === "auto-zero-copy-fallback";
  if (automatic && batch && threads > queues) {
    throw usageError(
      "--threads",
      `${threads} is more than the queues (${queues}), which --auto-zero-copy with --batch cannot`,
      `use ${queues} or fewer`,
    );
  }
}

function recoveryOf(values: DeviceValues): RecoveryMode | undefined {
  const reissue = values["recovery-reissue"] === 1;
  const fail = values["recovery-fail-io"] === 1;
  const { recovery = "0" } = values;
  const named = recovery === "reissue" || recovery === "fail" ? recovery : undefined;
  if ((reissue || named === "reissue") && (fail || named === "fail")) {
    throw usageError(
      "--recovery",
      "requests cannot both fail and wait to be sent again",
      "give one of reissue and fail",
    );
  }
  if (reissue) return "reissue";
  if (fail) return "fail";
  return recovery === "0" ? undefined : named ?? "queue";
}

function integrityOf(
  values: DeviceValues,
  dataPath: DataPathName | undefined,
): IntegrityOptions | undefined {
  const metadataSize = values["metadata-size"];
  const checksum = values.checksum as Checksum | undefined;
  const { "pi-offset": piOffset, "tag-size": tagSize } = values;
  const capable = values["integrity-capable"];
  const refTag = values["reference-tag"];
  if (metadataSize === undefined) {
    const given = [
      piOffset && "--pi-offset",
      checksum && "--checksum",
      tagSize && "--tag-size",
      capable && "--integrity-capable",
      refTag && "--reference-tag",
    ].find((name) => typeof name === "string");
    if (given === undefined) return undefined;
    throw usageError(given, "there is no metadata", "give --metadata-size too");
  }
  if (dataPath !== "user-copy") {
    throw usageError("--metadata-size", "metadata travels by user copy only", "add --user-copy");
  }
  if (refTag && checksum === undefined) {
    throw usageError("--reference-tag", "it belongs to a checksum", "give --checksum too");
  }
  const end = (piOffset ?? 0) + CHECKSUMS[checksum ?? "none"].tupleBytes;
  if (end > metadataSize) {
    throw usageError(
      "--metadata-size",
      `${metadataSize} is too small for protection information up to byte ${end}`,
      `use at least ${end}, or another --pi-offset or --checksum`,
    );
  }
  return { metadataSize, piOffset, checksum, tagSize, capable, refTag };
}

function sharedMemoryOf(values: DeviceValues): DeviceOptions["sharedMemory"] {
  const { htlb, "shmem-zc": switched, "shared-memory": named } = values;
  const readOnly = values["shared-memory-read-only"];
  if (named !== undefined && htlb !== undefined) {
    throw usageError("--shared-memory and --htlb", "they mean the same", "give one of them");
  }
  if (htlb !== undefined && !switched) {
    throw usageError("--htlb", "nothing uses the memory", "add --shmem-zc");
  }
  const path = named ?? htlb;
  if (path === undefined && switched) {
    throw usageError("--shmem-zc", "there is no memory to share", "give --htlb PATH too");
  }
  if (path === undefined && readOnly) {
    throw usageError(
      "--shared-memory-read-only",
      "there is no memory to share",
      "give --shared-memory PATH too",
    );
  }
  return path === undefined ? undefined : { path, readOnly };
}
