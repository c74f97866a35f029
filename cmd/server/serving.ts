/**
 * The life of a server: it starts a device, keeps its record and control socket while the device
 * exists, and ends it by signal, command or failure. Shared by all servers in the foreground and
 * background.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import type { Closed, DeviceInfo } from "../../device/info.ts";
import { logLine } from "../../device/log.ts";
import { charPath } from "../../device/node.ts";
import type { ServedDevice } from "../../device/serve.ts";
import { warnUsers } from "../../device/users.ts";
import type { MetricsServer } from "../../metrics.ts";
import { LOG_DEBUG, LOG_INFO, LOG_WARN } from "../../queue/log_events.ts";
import { findMeter } from "../../queue/meter.ts";
import { UblkError } from "../../uapi/error.ts";
import { environmentVariable, exitNow, pathExists } from "../../uring/libc.ts";
import { isMachinesMountNamespace } from "../../uring/namespace.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import { NAMESPACE_WARNING } from "./background.ts";
import type { StderrLog } from "./log.ts";
import type { ServiceManager } from "./notify.ts";
import { checkOpenFiles } from "./open_files.ts";
import { asksOfProcess } from "../line/process_flags.ts";
import type { DiskRequest } from "../devices/disk_request.ts";
import {
  isFileError,
  keepsNoRecords,
  RECORD_VERSION,
  recordPath,
  removeFile,
  removeRecord,
  socketPath,
  startTicksOf,
  writeRecord,
} from "../devices/records.ts";
import { EXIT_FAILURE, EXIT_OK, failureText } from "../program/run.ts";
import {
  type EndSignal,
  SIGNAL_NUMBERS,
  type SignalWatch,
  watchSignals,
} from "../program/signals.ts";
import { serveSocket } from "../devices/socket.ts";

/** The parameters of a server. */
export interface Serving {
  /** The command's name. */
  readonly program: string;
  /** The target: `null`, `mem`, … */
  readonly target: string;
  /** The disk as requested, for the record. */
  readonly request: DiskRequest;
  /** The command's log. */
  readonly log: StderrLog;
  /**
   * Whether it serves in the foreground: it then stays in the current folder, and a service manager
   * may be waiting for this process. In the background it keeps no folder busy.
   */
  readonly foreground: boolean;
  /** The address for metrics; none if omitted. */
  readonly metrics?: string;
  /**
   * Whether the device is useless without a record.
   *
   * @default false
   */
  readonly needsRecord?: boolean;
  /** Makes the device. Resolves once it can be opened. */
  start(signal: AbortSignal): Promise<ServedDevice>;
  /** Names the log after the device, and returns its path. If omitted, the log is stderr. */
  nameLog?(id: number): Promise<string | null>;
  /**
   * Announces that the device opens, with any warnings. If that fails, the disk is stopped: a
   * caller who never learns of it has no use for it.
   */
  announce(device: ServedDevice, warnings: readonly string[]): Promise<void>;
}

/**
 * Ends a server's process if Deno's telemetry is on; does nothing otherwise. `Deno.exit` would wait
 * for a last export, which waits for the event loop of each thread. Once, a server under load
 * waited there for ever although its device was long gone. Measurements since the previous export
 * are lost.
 */
export function endWhereMeasured(status: number): void {
  if (findMeter() !== undefined) exitNow(status);
}

/** Serves until the device ends, and returns the exit status. */
export async function serveUntilEnd(serving: Serving): Promise<number> {
  const { log } = serving;
  checkOpenFiles();
  const { process } = serving.request;
  const checkProcess = asksOfProcess(process)
    ? (await import("./process.ts")).prepareProcess(process)
    : undefined;
  // Not earlier: if the program is executed again, it parses the command line again, whose paths
  // may be relative.
  if (!serving.foreground) Deno.chdir("/");
  let device: ServedDevice | undefined;
  using watch = watchSignals((name) => void endByForce(name, device, log));
  using manager = serving.foreground ? await serviceManager() : undefined;
  manager?.starting();
  // Before the device: if the port is taken, nothing has been touched yet.
  await using metrics = await openMetrics(serving.metrics, () => device);
  log.serves = true;
  try {
    device = await serving.start(watch.signal);
  } catch (error) {
    log.serves = false;
    if (!watch.signal.aborted || !(error instanceof UblkError && error.code === "ABORTED")) {
      throw error;
    }
    logLine(LOG_INFO, `${watch.signal.reason} before the disk was there; nothing is left`);
    return EXIT_OK;
  }
  const { id } = device;
  log.started();
  device.closed.then(() => log.serves = false);
  // If anything fails from here on, stop the device: it must not be left without its server.
  try {
    const logged = await serving.nameLog?.(id) ?? null;
    const unrecorded = remember(serving, device, logged);
    const socket = serveSocket(device);
    // Immediately, because the kernel may give the number to another device at any moment.
    device.closed.then((closed) => {
      socket?.[Symbol.dispose]();
      forget(id, closed, unrecorded === undefined);
    });
    await checkProcess?.();
    if (unrecorded !== undefined && serving.needsRecord) throw noRecovery(id, unrecorded);
    await serving.announce(device, unrecorded === undefined ? [] : [unrecorded]);
  } catch (error) {
    await device.stop();
    throw error;
  }
  const what = `serving ${describe(device.info())}`;
  logLine(LOG_INFO, what);
  // In the background the process has left its caller's namespace, or has warned that it could not.
  if (serving.foreground && hasAdminRights() && !isMachinesMountNamespace()) {
    logLine(LOG_WARN, NAMESPACE_WARNING);
  }
  if (metrics !== undefined) logLine(LOG_INFO, `metrics of ${device.path} at ${metrics.url}`);
  await manager?.ready(what, () => device.responsive());
  return await untilEnd(device, watch, manager);
}

/**
 * Not a literal in the `import`: Deno loads and parses everything behind a literal before it starts
 * a program, so every start would pay for a library that only metrics need.
 */
const METRICS_MODULE = new URL("../../metrics.ts", import.meta.url).href;

/** Starts serving metrics. The device is included once it exists. */
async function openMetrics(
  address: string | undefined,
  device: () => ServedDevice | undefined,
): Promise<MetricsServer | undefined> {
  if (address === undefined) return undefined;
  const { serveMetrics }: typeof import("../../metrics.ts") = await import(METRICS_MODULE);
  return await serveMetrics(address, () => {
    const served = device();
    return served === undefined ? [] : [served];
  });
}

/** The connection to the service manager that runs this process; undefined if there is none. */
async function serviceManager(): Promise<ServiceManager | undefined> {
  if (!environmentVariable("NOTIFY_SOCKET")) return undefined;
  const { notifyWish, ServiceManager } = await import("./notify.ts");
  const wish = notifyWish(environmentVariable, Deno.pid);
  return wish && new ServiceManager(wish);
}

function describe(info: DeviceInfo): string {
  const { path, size, queues, depth, blockSize, maxIoBytes, dataPath, readOnly } = info;
  const own = info.features.includes("UNPRIVILEGED_DEV") ? ", for this user alone" : "";
  return `${path}: ${formatSize(size)}${readOnly ? ", read-only" : ""}${own}, ` +
    `${queues} ${queues === 1 ? "queue" : "queues"} of depth ${depth}, blocks of ${blockSize}, ` +
    `requests up to ${formatSize(maxIoBytes)}, data path "${dataPath}"`;
}

async function untilEnd(
  device: ServedDevice,
  { signal }: SignalWatch,
  manager: ServiceManager | undefined,
): Promise<number> {
  const { path } = device;
  const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<void>();
  if (signal.aborted) interrupt();
  signal.addEventListener("abort", () => interrupt());
  await Promise.race([interrupted, device.closed]);
  if (signal.aborted) {
    logLine(LOG_INFO, `${signal.reason}: stopping ${path}`);
    await manager?.stopping(`stopping ${path}`);
    await warnUsers(device.id);
    await device.stop();
  }
  const { reason, error } = await device.closed;
  if (reason === "failed") {
    if (error !== undefined) throw error;
    return EXIT_FAILURE;
  }
  if (reason === "removed") logLine(LOG_WARN, `somebody else removed ${path}`);
  else if (reason === "quiesced") logLine(LOG_INFO, `${path} waits for another server`);
  else logLine(LOG_INFO, `${path} is gone`);
  return EXIT_OK;
}

/** Ends the process although the device did not stop. */
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

/** Writes the record. If that fails unexpectedly, returns the reason as a warning. */
function remember(
  serving: Serving,
  { id }: ServedDevice,
  logged: string | null,
): string | undefined {
  try {
    writeRecord({
      version: RECORD_VERSION,
      id,
      program: serving.program,
      target: serving.target,
      request: serving.request,
      pid: Deno.pid,
      startTicks: startTicksOf(Deno.pid) ?? 0,
      log: logged,
      socket: socketPath(id),
    });
  } catch (error) {
    if (!isFileError(error)) throw error;
    const warning = `no record of the device is kept, so \`ublk recover\` would not know what it ` +
      `served: ${recordPath(id)}: ${failureText(error)}`;
    const isNews = !keepsNoRecords(error);
    logLine(isNews ? LOG_WARN : LOG_DEBUG, warning);
    return isNews ? warning : undefined;
  }
}

/** The error for a device that should outlive its server but could not be recovered. */
function noRecovery(device: number, reason: string): UblkError {
  return new UblkError("SYSCALL_FAILED", {
    operation: "--recovery",
    device,
    reason,
    hint: "see to that folder, or do without --recovery",
  });
}

/**
 * Removes the record of a device that is gone. The record of a device that remains is kept for
 * another command.
 */
function forget(id: number, { reason, recoverable }: Closed, isRecorded: boolean): void {
  if (recoverable) return;
  if (!isRecorded) {
    // A log may exist. If another device has the number by now, the files are that device's.
    if (!pathExists(charPath(id))) removeRecord(id);
  } else if (reason === "removed" || reason === "deleted") {
    removeRecord(id, Deno.pid);
  } else if (!pathExists(charPath(id))) {
    // The log is kept, because it is the only source of the cause.
    for (const path of [recordPath(id), socketPath(id)]) removeFile(path);
  }
}
