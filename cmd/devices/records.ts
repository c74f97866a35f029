/**
 * Records of servers: everything about a server that the kernel does not know (the requested disk,
 * the process, the log, the socket), for any later command. They are in `/run/ublk`, or in
 * `/run/user/UID/ublk` for a user's own devices.
 *
 * A record is a convenience. Commands that cannot read or write records still serve and list
 * devices. Only a device that is to be recovered depends on its record, which `ublk recover` uses.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { pathExists, readSmallFile } from "../../uring/libc.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import type { DiskRequest } from "./disk_request.ts";
import { runFolder } from "./run_folder.ts";

/** The fields of a record in every version. The names are those in the file. */
interface ServerRecord {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The command: `ublk`, `ublk-mem`, … */
  readonly program: string;
  /** The target: `null`, `mem`, `loop`, … */
  readonly target: string;
  /** The server's process. */
  readonly pid: number;
  /** Start time of that process, in clock ticks since boot: the pid alone may have been reused. */
  readonly startTicks: number;
  /** The id of that boot, because `/run` may survive a reboot, as in a container. */
  readonly boot?: string;
  /** Its log; null if it logs to its own stderr. */
  readonly log: string | null;
  /** Its control socket; null if it has none. */
  readonly socket: string | null;
}

/** The version of {@linkcode CurrentRecord}. */
export const RECORD_VERSION = 2;

/** A record in the current format. */
export interface CurrentRecord extends ServerRecord {
  /** Part of the format. A newer format that cannot be read as this one gets another number. */
  readonly version: typeof RECORD_VERSION;
  /** The disk as requested. */
  readonly request: DiskRequest;
}

/** A record of a server of version 0.1.0, which may still be running. */
export interface OldRecord extends ServerRecord {
  /** Version 0.1.0 wrote no version. */
  readonly version?: undefined;
  /** The command's arguments; for `ublk`, those of `add`. */
  readonly argv: readonly string[];
  /** The folder that relative paths in them are resolved against. */
  readonly cwd: string;
}

/** A record of any version. */
export type DeviceRecord = CurrentRecord | OldRecord;

/** The path of a device's record. */
export function recordPath(id: number): string {
  return `${runFolder()}/${id}.json`;
}

/** The path of a background server's log. */
export function logPath(id: number): string {
  return `${runFolder()}/${id}.log`;
}

/** The path of a background server's log before its device has a number. */
export function startLogPath(pid: number): string {
  return `${runFolder()}/${startLogName(pid)}`;
}

/** The name of that log in the folder. In a shell, `$$` is the shell's own pid. */
export function startLogName(pid: number | "$$"): string {
  return `start-${pid}.log`;
}

/** The path of a server's control socket. */
export function socketPath(id: number): string {
  return `${runFolder()}/${id}.sock`;
}

/** Start time of a process, in clock ticks since boot; undefined if there is no such process. */
export function startTicksOf(pid: number): number | undefined {
  try {
    return parseStartTicks(readSmallFile(`/proc/${pid}/stat`));
  } catch (error) {
    // ENOENT, or ESRCH while the process exits.
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/**
 * The state of a process as shown by `ps`: `R`, `S`, `D`, `T`, …; undefined if there is no such
 * process.
 */
export function processState(pid: number): string | undefined {
  try {
    const stat = readSmallFile(`/proc/${pid}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2)[0];
  } catch (error) {
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/** Returns field 22 of `/proc/PID/stat`; undefined for a zombie, which serves nothing. */
export function parseStartTicks(stat: string): number | undefined {
  // The name, in parentheses, may itself contain parentheses and spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : Number(fields[19]);
}

/** Whether the process that wrote a record still exists. */
export function isAlive(record: DeviceRecord): boolean {
  return startTicksOf(record.pid) === record.startTicks;
}

/**
 * The id of this boot; undefined if `/proc/sys` is hidden, as in a service with `ProcSubset=pid`.
 */
function bootId(): string | undefined {
  try {
    return readSmallFile("/proc/sys/kernel/random/boot_id").trim();
  } catch (error) {
    if (error instanceof UblkError) return undefined;
    throw error;
  }
}

/**
 * Whether a record is from this boot: pids and ticks of another boot mean nothing. If either boot
 * id is unknown, pid and ticks alone decide.
 */
function isOfThisBoot({ boot }: DeviceRecord): boolean {
  const now = bootId();
  return boot === undefined || now === undefined || boot === now;
}

/** Creates the folder with access for this user only. */
export function makeRunFolder(): void {
  Deno.mkdirSync(runFolder(), { recursive: true, mode: 0o700 });
}

/** Writes a record, completely or not at all. */
export function writeRecord(record: CurrentRecord): void {
  makeRunFolder();
  const path = recordPath(record.id);
  const temporary = `${path}.${Deno.pid}`;
  try {
    const text = JSON.stringify({ boot: bootId(), ...record }, null, 2);
    Deno.writeTextFileSync(temporary, `${text}\n`, { mode: 0o600 });
    Deno.renameSync(temporary, path);
  } catch (error) {
    // Once, a full disk left a partial file for each process.
    removeFile(temporary);
    throw error;
  }
}

/**
 * Whether it is normal that no record can be kept: Deno has no permission, or this user has no
 * runtime folder, as under `cron`.
 */
export function keepsNoRecords(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable ||
    !hasAdminRights() && !pathExists(runFolder().replace(/\/[^/]*$/, ""));
}

/** A device's record; undefined if there is none or this process cannot read it. */
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
 * The record of a device's current or last server. The record of a different process is ignored: it
 * belongs to an earlier device of the same number that was deleted by other means, so its target
 * and files are wrong for this device.
 *
 * @param serverPid The server's process according to the kernel; 0 or less if it knows of none.
 */
export function recordOf(id: number, serverPid: number): DeviceRecord | undefined {
  const record = readRecord(id);
  return record === undefined || serverPid > 0 && record.pid !== serverPid ? undefined : record;
}

/**
 * The files that a server uses, as absolute paths, or the name of its volume; undefined if its
 * record does not name them.
 */
export function filesOf(record: DeviceRecord): readonly string[] | undefined {
  if (record.version === undefined) return undefined;
  const volume = volumeOf(record);
  return volume === undefined ? record.request.files : [volume];
}

/** The name of the volume that a server serves; undefined if its disk is none. */
export function volumeOf(record: DeviceRecord): string | undefined {
  if (record.target !== "volume" || record.version === undefined) return undefined;
  return record.request.values.name as string | undefined;
}

/** Whether a server only reads its volume, and so does not have it attached. */
export function onlyReads(record: DeviceRecord): boolean {
  return record.version !== undefined && record.request.values["read-only"] === true;
}

/** All records, in the order of ids. */
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
 * Removes a device's record, socket and log. With `pid`, does so only if the record is that
 * process's: a device that was deleted a moment ago may already have a successor of the same
 * number.
 */
export function removeRecord(id: number, pid?: number): void {
  if (pid !== undefined && readRecord(id)?.pid !== pid) return;
  for (const path of [recordPath(id), socketPath(id), logPath(id)]) removeFile(path);
}

/**
 * Removes stale files: partial records of dead processes, and sockets and damaged records of
 * devices that are gone.
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

/** Whether a record is damaged. A record that cannot be read at the moment may be valid. */
function isDamaged(id: number): boolean {
  try {
    return !isRecord(JSON.parse(Deno.readTextFileSync(recordPath(id))));
  } catch (error) {
    if (error instanceof SyntaxError) return true;
    if (isFileError(error)) return false;
    throw error;
  }
}

/** Removes logs of servers that ended before their device had a number. */
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

/** Removes a file if it exists. */
export function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!isFileError(error)) throw error;
  }
}

/**
 * Whether an error is about files, such as a missing file or permission: the machine's state, not a
 * bug.
 */
export function isFileError(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable ||
    error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotADirectory ||
    // Errors without their own class, such as EROFS.
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

/**
 * Whether a value has all parts of a request. Their contents were checked before the record was
 * written.
 */
function isRequest(value: unknown): value is DiskRequest {
  const request = value as Partial<DiskRequest> | null;
  const isObject = (part: unknown) => typeof part === "object" && part !== null;
  return isObject(request) && typeof request!.target === "string" &&
    [request!.values, request!.device, request!.process].every(isObject) &&
    [request!.files, request!.wraps].every(Array.isArray);
}
