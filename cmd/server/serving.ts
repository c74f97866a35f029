/**
 * A device from its start to its end, by signal, command or failure; with its record and its control
 * socket while it is there. What every server has in common, in the foreground or background.
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
import { exitNow, pathExists, readSmallFile } from "../../uring/libc.ts";
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

/** What is served, and how that is told. */
export interface Serving {
  /** The command. */
  readonly program: string;
  /** What is served: `null`, `mem`, … */
  readonly target: string;
  /** The disk as it was asked for, for the record. */
  readonly request: DiskRequest;
  /** The command's log. */
  readonly log: StderrLog;
  /**
   * Whether it serves in the foreground: in the folder in which it was started, and perhaps for a
   * service manager that waits for this process. In the background it keeps no folder busy.
   */
  readonly foreground: boolean;
  /** Where its metrics are served; nowhere if left out. */
  readonly metrics?: string;
  /** Whether the device is of no use without a record. Default: it is. */
  readonly needsRecord?: boolean;
  /** Makes the device; resolves once it opens. */
  start(signal: AbortSignal): Promise<ServedDevice>;
  /** Names the log after the device; returns its path. Default: the log is stderr. */
  nameLog?(id: number): Promise<string | null>;
  /** Tells that it opens, and what is amiss all the same. Whoever does not get to know it has no use for the disk. */
  announce(device: ServedDevice, warnings: readonly string[]): Promise<void>;
}

/**
 * Ends a server's process where Deno's telemetry is on, and does nothing elsewhere: `Deno.exit` then
 * waits for a last export, and that for the event loop of each thread. Once, a server under load
 * waited there for ever, with its device long gone. What was measured after the export before is
 * lost.
 */
export function endWhereMeasured(status: number): void {
  if (findMeter() !== undefined) exitNow(status);
}

/** Serves to the end, and returns the exit status. */
export async function serveUntilEnd(serving: Serving): Promise<number> {
  const { log } = serving;
  checkOpenFiles();
  const { process } = serving.request;
  const checkProcess = asksOfProcess(process)
    ? (await import("./process.ts")).prepareProcess(process)
    : undefined;
  // Not before: whoever starts over reads the command line again, and its paths may be relative.
  if (!serving.foreground) Deno.chdir("/");
  let device: ServedDevice | undefined;
  using watch = watchSignals((name) => void endByForce(name, device, log));
  using manager = serving.foreground ? await serviceManager() : undefined;
  manager?.starting();
  // Before the device: where the port is taken nothing has been touched yet.
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
  // Whatever fails from here on, the device does not stay without its server.
  try {
    const logged = await serving.nameLog?.(id) ?? null;
    const unrecorded = remember(serving, device, logged);
    const socket = serveSocket(device);
    // At once: the kernel may give the number to somebody else's device any moment.
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
  // In the background it has left that of its caller, or has said that it could not.
  if (serving.foreground && hasAdminRights() && !isMachinesMountNamespace()) {
    logLine(LOG_WARN, NAMESPACE_WARNING);
  }
  if (metrics !== undefined) logLine(LOG_INFO, `metrics of ${device.path} at ${metrics.url}`);
  await manager?.ready(what, () => device.responsive());
  return await untilEnd(device, watch, manager);
}

/**
 * Not by its name in the `import`: Deno gets and reads whatever it finds behind that before it
 * starts a program, so that every start would bear the library which only this needs.
 */
const METRICS_MODULE = new URL("../../metrics.ts", import.meta.url).href;

/** Serves metrics of the device, from when it is there on. */
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

/** The way to the manager of which this process is a service; undefined if it is none. */
async function serviceManager(): Promise<ServiceManager | undefined> {
  const environment = readSmallFile("/proc/self/environ");
  if (!environment.includes("NOTIFY_SOCKET=")) return undefined;
  const { notifyWish, ServiceManager } = await import("./notify.ts");
  const wish = notifyWish(environment, Deno.pid);
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

/** Writes the record. Returns why that could not be done, as a warning, unless it is no news. */
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

/** A device that was to outlive its server could not be recovered as one expects. */
function noRecovery(device: number, reason: string): UblkError {
  return new UblkError("SYSCALL_FAILED", {
    operation: "--recovery",
    device,
    reason,
    hint: "see to that folder, or do without --recovery",
  });
}

/** Removes the record of a device that is gone; one that is left, another command will want. */
function forget(id: number, { reason, recoverable }: Closed, isRecorded: boolean): void {
  if (recoverable) return;
  if (!isRecorded) {
    // Its log was made, perhaps. Where the number is another's by now, so is what is there.
    if (!pathExists(charPath(id))) removeRecord(id);
  } else if (reason === "removed" || reason === "deleted") {
    removeRecord(id, Deno.pid);
  } else if (!pathExists(charPath(id))) {
    // The log stays: it is all there is to learn from.
    for (const path of [recordPath(id), socketPath(id)]) removeFile(path);
  }
}
