/**
 * A command that serves one disk in the foreground, until a signal or somebody else ends it.
 *
 * The first line on stdout is the disk's path, printed once the disk can be opened, and nothing
 * else goes there; the log goes to stderr.
 *
 * @module
 */

import { formatSize } from "../backends/size.ts";
import type { BackendSpec } from "../backends/spec.ts";
import { BLOCK_SIZES } from "../backends/geometry.ts";
import { MAX_DEVICES, MAX_MAX_IO_BYTES, MIN_MAX_IO_BYTES } from "../ctrl/negotiate.ts";
import type { DeviceInfo } from "../device/info.ts";
import { logLine } from "../device/log.ts";
import { serve, type ServedDevice } from "../device/serve.ts";
import { LOG_DEBUG, LOG_INFO, LOG_TRACE, LOG_WARN } from "../queue/log_events.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_MAX_NR_QUEUES, UBLK_MAX_QUEUE_DEPTH } from "../uapi/ublk_cmd.ts";
import { exitNow } from "../uring/libc.ts";
import { asksFor, type Flag, parseFlags, usageError, type Values } from "./_flags.ts";
import { helpText, versionText } from "./_help.ts";
import { logToStderr, type StderrLog } from "./_log.ts";
import { EXIT_FAILURE, EXIT_OK, exitStatus, writeLine } from "./_run.ts";
import { type EndSignal, SIGNAL_NUMBERS, type SignalWatch, watchSignals } from "./_signals.ts";

/** The flags of every disk, after its own. */
export const DISK_FLAGS = [
  {
    name: "queues",
    kind: "integer",
    min: 0,
    max: UBLK_MAX_NR_QUEUES,
    help: "Hardware queues, each served by a thread; 0: one per CPU. Default: 1.",
  },
  {
    name: "depth",
    kind: "integer",
    min: 1,
    max: UBLK_MAX_QUEUE_DEPTH,
    help: `Requests in flight per queue, 1 to ${UBLK_MAX_QUEUE_DEPTH}. Default: 128.`,
  },
  {
    name: "block-size",
    kind: "size",
    choices: BLOCK_SIZES,
    help: `Logical block: ${BLOCK_SIZES.join(", ")} bytes. Default: 512.`,
  },
  {
    name: "max-io",
    kind: "size",
    min: MIN_MAX_IO_BYTES,
    max: MAX_MAX_IO_BYTES,
    multipleOf: MIN_MAX_IO_BYTES,
    help: "The largest request, 4K to 32M in whole pages. Default: 512K.",
  },
  {
    name: "id",
    kind: "integer",
    min: 0,
    max: MAX_DEVICES - 1,
    help: "The N of /dev/ublkbN. Default: the kernel's choice.",
  },
  { name: "read-only", kind: "switch", help: "The kernel refuses writes." },
  {
    name: "verbose",
    short: "v",
    kind: "count",
    help: "Log more; -vv: each request.",
  },
  {
    name: "json",
    kind: "switch",
    help: "Print one line of JSON (path, id, size, …) instead of the path.",
  },
] as const satisfies readonly Flag[];

const NOTES = `SIZE is a number of bytes or has a unit: 64M and 64MiB count in 1024s, 64MB in 1000s.

It serves in the foreground. The first line on stdout is the disk's path, once it can be opened.
Ctrl-C (or SIGTERM) stops and deletes the disk; once more, a second later, ends by force.`;

/** A kind of disk as a command. */
export interface DiskCommand<F extends readonly Flag[]> {
  /** The command. */
  readonly name: string;
  /** What it does, in a few words. */
  readonly summary: string;
  /** Its own flags. */
  readonly flags: F;
  /** Makes the backend. What it throws for its arguments is a `RangeError` or `TypeError`. */
  backend(values: Values<readonly [...F, ...typeof DISK_FLAGS]>): BackendSpec;
}

type DiskValues = Values<typeof DISK_FLAGS>;

/** Runs the command, with this process's arguments, to its end and the process's. */
export async function runDisk<const F extends readonly Flag[]>(
  command: DiskCommand<F>,
): Promise<never> {
  const flags = [...command.flags, ...DISK_FLAGS] as const;
  const log = logToStderr(command.name, Deno.args.some((arg) => /^(-v+|--verbose)$/.test(arg)));
  const status = await exitStatus(log, async () => {
    const wish = asksFor(Deno.args);
    if (wish !== undefined) {
      const syntax = { ...command, flags, notes: NOTES };
      await writeLine(wish === "help" ? helpText(syntax) : versionText(command.name));
      return EXIT_OK;
    }
    const values = parseFlags<readonly [...F, ...typeof DISK_FLAGS]>(
      command.name,
      flags,
      Deno.args,
    );
    const backend = specOf(() => command.backend(values));
    return await serveDisk(backend, values as unknown as DiskValues, log);
  });
  Deno.exit(status);
}

function specOf(make: () => BackendSpec): BackendSpec {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      throw usageError("--size", error.message);
    }
    throw error;
  }
}

async function serveDisk(
  backend: BackendSpec,
  values: DiskValues,
  log: StderrLog,
): Promise<number> {
  let device: ServedDevice | undefined;
  using watch = watchSignals((name) => void endByForce(name, device, log));
  try {
    device = await serve({
      backend,
      id: values.id,
      queues: values.queues,
      depth: values.depth,
      maxIoBytes: values["max-io"],
      readOnly: values["read-only"],
      logLevel: [LOG_INFO, LOG_DEBUG][values.verbose] ?? LOG_TRACE,
      signal: watch.signal,
    });
  } catch (error) {
    if (!watch.signal.aborted || !(error instanceof UblkError && error.code === "ABORTED")) {
      throw error;
    }
    logLine(LOG_INFO, `${watch.signal.reason} before the disk was there; nothing is left`);
    return EXIT_OK;
  }
  await announce(device, values.json);
  return await untilEnd(device, watch);
}

/** Tells the disk's path. Whoever does not get to know it has no use for the disk. */
async function announce(device: ServedDevice, json: boolean): Promise<void> {
  const info = device.info();
  try {
    await writeLine(json ? JSON.stringify(info) : info.path);
  } catch (error) {
    await device.stop();
    throw error;
  }
  logLine(LOG_INFO, `serving ${describe(info)}`);
}

function describe(info: DeviceInfo): string {
  const { path, size, queues, depth, blockSize, maxIoBytes, dataPath, readOnly } = info;
  return `${path}: ${formatSize(size)}${readOnly ? ", read-only" : ""}, ` +
    `${queues} ${queues === 1 ? "queue" : "queues"} of depth ${depth}, blocks of ${blockSize}, ` +
    `requests up to ${formatSize(maxIoBytes)}, data path "${dataPath}"`;
}

async function untilEnd(device: ServedDevice, { signal }: SignalWatch): Promise<number> {
  const { path } = device;
  const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<void>();
  if (signal.aborted) interrupt();
  signal.addEventListener("abort", () => interrupt());
  await Promise.race([interrupted, device.closed]);
  if (signal.aborted) {
    logLine(LOG_INFO, `${signal.reason}: stopping ${path}`);
    await device.stop();
  }
  const { reason, error } = await device.closed;
  if (reason === "failed") {
    if (error !== undefined) throw error;
    return EXIT_FAILURE;
  }
  if (reason === "removed") logLine(LOG_WARN, `somebody else removed ${path}`);
  else logLine(LOG_INFO, `${path} is gone`);
  return EXIT_OK;
}

/** Ends the process although the device would not go. */
async function endByForce(
  name: EndSignal,
  device: ServedDevice | undefined,
  log: StderrLog,
): Promise<void> {
  const remedy = device === undefined ? "`ublk del -a`" : `\`ublk del -n ${device.id}\``;
  log.error(`${name} again: ending by force; the device may be left, remove it with ${remedy}`);
  await log.flush(200);
  exitNow(128 + SIGNAL_NUMBERS[name]);
}
