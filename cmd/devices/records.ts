/**
 * What is known of a server besides what the kernel knows, kept under `/run/ublk`, or for a user's
 * own devices under `/run/user/UID/ublk`, so that any later command finds it: which disk was asked for,
 * its process, its log, its socket.
 *
 * A record is a convenience. Whoever may not write or read there serves and lists all the same; only
 * of a device that is to be recovered it is more, since `ublk recover` goes by it.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { pathExists, readSmallFile } from "../../uring/libc.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import type { DiskRequest } from "./disk_request.ts";
import { runFolder } from "./run_folder.ts";

/** What is known of a server whatever its version. The names are those of the file. */
interface ServerRecord {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The command: `ublk`, `ublk-mem`, … */
  readonly program: string;
  /** What is served: `null`, `mem`, `loop`, … */
  readonly target: string;
  /** The server's process. */
  readonly pid: number;
  /** When that started, in the kernel's ticks since boot: a pid alone may be somebody else's now. */
  readonly startTicks: number;
  /** Which boot that was, where `/run` outlives one, as in a container. */
  readonly boot?: string;
  /** Its log, or null: it logs to its own stderr. */
  readonly log: string | null;
  /** Its control socket, or null. */
  readonly socket: string | null;
}

/** The version of {@linkcode CurrentRecord}. */
export const RECORD_VERSION = 2;

/** A record as it is written. */
export interface CurrentRecord extends ServerRecord {
  /** Part of the format: what a newer one cannot be read as gets another number. */
  readonly version: typeof RECORD_VERSION;
  /** The disk as it was asked for. */
  readonly request: DiskRequest;
}

/** A record of a server of 0.1.0, which may be running yet. */
export interface OldRecord extends ServerRecord {
  /** It had no number. */
  readonly version?: undefined;
  /** The command's arguments. For `ublk` those of `add`. */
  readonly argv: readonly string[];
  /** What relative paths among them are relative to. */
  readonly cwd: string;
}

/** One server. */
export type DeviceRecord = CurrentRecord | OldRecord;

/** The record of a device. */
export function recordPath(id: number): string {
  return `${runFolder()}/${id}.json`;
}

/** The log of a background server. */
export function logPath(id: number): string {
  return `${runFolder()}/${id}.log`;
}

/** The log of a background server whose device has no number yet. */
export function startLogPath(pid: number): string {
  return `${runFolder()}/${startLogName(pid)}`;
}

/** Its name in the folder; for a shell, `$$` is its own number. */
export function startLogName(pid: number | "$$"): string {
  return `start-${pid}.log`;
}

/** The control socket of a server. */
export function socketPath(id: number): string {
  return `${runFolder()}/${id}.sock`;
}

/** When a process started, in ticks since boot; undefined if there is none of that number. */
export function startTicksOf(pid: number): number | undefined {
  try {
    return parseStartTicks(readSmallFile(`/proc/${pid}/stat`));
  } catch (error) {
    // ENOENT, and ESRCH while it is going.
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/** The state of a process as `ps` shows it: `R`, `S`, `D`, `T`, …; undefined if there is none. */
export function processState(pid: number): string | undefined {
  try {
    const stat = readSmallFile(`/proc/${pid}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2)[0];
  } catch (error) {
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/** Field 22 of `/proc/PID/stat`; undefined for a zombie, which serves nobody. */
export function parseStartTicks(stat: string): number | undefined {
  // The name, in parentheses, may contain anything, parentheses and spaces too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : Number(fields[19]);
}

/** Whether the very process that wrote a record is still there. */
export function isAlive(record: DeviceRecord): boolean {
  return startTicksOf(record.pid) === record.startTicks;
}

/** The id of this boot; undefined where `/proc/sys` is hidden, as in a service with `ProcSubset=pid`. */
function bootId(): string | undefined {
  try {
    return readSmallFile("/proc/sys/kernel/random/boot_id").trim();
  } catch (error) {
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/**
 * Pids and ticks of another boot are others'. Where one of the two boots is unknown, pid and ticks
 * decide alone.
 */
function isOfThisBoot({ boot }: DeviceRecord): boolean {
  const now = bootId();
  return boot === undefined || now === undefined || boot === now;
}

/** Makes the folder, for this user alone. */
export function makeRunFolder(): void {
  Deno.mkdirSync(runFolder(), { recursive: true, mode: 0o700 });
}

/** Writes a record, all of it or nothing. */
export function writeRecord(record: CurrentRecord): void {
  makeRunFolder();
  const path = recordPath(record.id);
  const temporary = `${path}.${Deno.pid}`;
  try {
    const text = JSON.stringify({ boot: bootId(), ...record }, null, 2);
    Deno.writeTextFileSync(temporary, `${text}\n`, { mode: 0o600 });
    Deno.renameSync(temporary, path);
  } catch (error) {
    // Half of it stayed behind where there was no room, one for each process.
    removeFile(temporary);
    throw error;
  }
}

/**
 * Whether it is no news that no record can be kept: Deno was not given the permission, or there is
 * no runtime folder for this user, as under `cron`.
 */
export function keepsNoRecords(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable ||
    !hasAdminRights() && !pathExists(runFolder().replace(/\/[^/]*$/, ""));
}

/** A device's record, or undefined: none is there, or it is unreadable, or not for us to read. */
export function readRecord(id: number): DeviceRecord | undefined {
  try {
    const record = JSON.parse(Deno.readTextFileSync(recordPath(id)));
    return isRecord(record) && record.id === id && isOfThisBoot(record) ? record : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || isFileError(error)) return undefined;
    throw error;
  }
}

/**
 * The record of the server that a device has, or had last. One of another process is left of a
 * device that had the same number and was deleted behind the commands' back: what it says of
 * target and files is not true of this one.
 *
 * @param serverPid The server's process, as the kernel knows it; 0 or less if it knows of none.
 */
export function recordOf(id: number, serverPid: number): DeviceRecord | undefined {
  const record = readRecord(id);
  return record === undefined || serverPid > 0 && record.pid !== serverPid ? undefined : record;
}

/** The files that a server serves, with whole paths; undefined where its record does not say. */
export function filesOf(record: DeviceRecord): readonly string[] | undefined {
  return record.version === undefined ? undefined : record.request.files;
}

/** All records, in order. */
export function readRecords(): DeviceRecord[] {
  try {
    const ids = [...Deno.readDirSync(runFolder())]
      .map(({ name }) => /^(\d+)\.json$/.exec(name)?.[1])
      .filter((id) => id !== undefined)
      .map(Number);
    return ids.sort((a, b) => a - b).map(readRecord).filter((record) => record !== undefined);
  } catch (error) {
    if (isFileError(error)) return [];
    throw error;
  }
}

/**
 * Removes a device's record and what goes with it. With `pid`, only if it is that process's: a
 * device deleted a moment ago may have a successor of the same number already.
 */
export function removeRecord(id: number, pid?: number): void {
  if (pid !== undefined && readRecord(id)?.pid !== pid) return;
  for (const path of [recordPath(id), socketPath(id), logPath(id)]) removeFile(path);
}

/**
 * Removes what is of no use to anybody: half-written records of processes that died, and of devices
 * that are gone sockets and what is no record.
 */
export function sweepRunFolder(): void {
  try {
    for (const { name } of [...Deno.readDirSync(runFolder())]) {
      const [, id, kind, pid] = /^(\d+)\.(json|sock)(?:\.(\d+))?$/.exec(name) ?? [];
      if (id === undefined) continue;
      const isStale = pid !== undefined
        ? startTicksOf(Number(pid)) === undefined
        : !pathExists(`/dev/ublkc${id}`) &&
          (kind === "json" ? isDamaged(Number(id)) : !pathExists(recordPath(Number(id))));
      if (isStale) removeFile(`${runFolder()}/${name}`);
    }
  } catch (error) {
    if (!isFileError(error)) throw error;
  }
}

/** Whether a record is none. One that cannot be read at the moment may be one. */
function isDamaged(id: number): boolean {
  try {
    return !isRecord(JSON.parse(Deno.readTextFileSync(recordPath(id))));
  } catch (error) {
    if (error instanceof SyntaxError) return true;
    if (isFileError(error)) return false;
    throw error;
  }
}

/** Removes logs of servers that died, or were killed, before their device had a number. */
export function removeStartLogs(): void {
  try {
    for (const { name } of Deno.readDirSync(runFolder())) {
      const pid = /^start-(\d+)\.log$/.exec(name)?.[1];
      if (pid !== undefined && startTicksOf(Number(pid)) === undefined) {
        removeFile(`${runFolder()}/${name}`);
      }
    }
  } catch (error) {
    if (!isFileError(error)) throw error;
  }
}

/** Removes a file that may not be there. */
export function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!isFileError(error)) throw error;
  }
}

/** Whether a file or folder is missing, or not for this process: a matter of this machine. */
export function isFileError(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable ||
    error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotADirectory ||
    // What has no class of its own, such as EROFS.
    (error instanceof Error && /\(os error \d+\)/.test(error.message));
}

function isRecord(value: unknown): value is DeviceRecord {
  const record = value as Partial<CurrentRecord & Omit<OldRecord, "version">> | null;
  return typeof record === "object" && record !== null && Number.isInteger(record.id) &&
    Number.isInteger(record.pid) && typeof record.target === "string" &&
    typeof record.program === "string" &&
    (record.version === undefined
      ? typeof record.cwd === "string" && Array.isArray(record.argv)
      : record.version === RECORD_VERSION && isRequest(record.request));
}

/** Whether it has all parts of a request. Their values were checked before they were written. */
function isRequest(value: unknown): value is DiskRequest {
  const request = value as Partial<DiskRequest> | null;
  const isObject = (part: unknown) => typeof part === "object" && part !== null;
  return isObject(request) && typeof request!.target === "string" &&
    [request!.values, request!.device, request!.process].every(isObject) &&
    [request!.files, request!.wraps].every(Array.isArray);
}
