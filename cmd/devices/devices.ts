/**
 * All devices of the kernel, whichever program made them, as data and as text.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import type { Control } from "../../ctrl/control.ts";
import { describeParams, type DiskDescription } from "../../ctrl/params.ts";
import { blockPath, charPath } from "../../device/node.ts";
import { UblkError } from "../../uapi/error.ts";
import { printable } from "../../uapi/printable.ts";
import { featureNames, UBLK_F_USER_RECOVERY } from "../../uapi/features.ts";
import { pathExists } from "../../uring/libc.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import { deviceIds } from "./ids.ts";
import {
  type DeviceRecord,
  filesOf,
  isAlive,
  readRecords,
  recordOf,
  sweepRunFolder,
} from "./records.ts";
import { readUses, type Uses } from "./uses.ts";

/** `UBLK_S_DEV_*` in words, by value. */
const STATES: readonly string[] = ["dead", "live", "quiesced", "fail-io"];

/** Everything known about a device. The names are those of `ublk list --json`. */
export interface DeviceRow {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The disk. Its node exists only while the state is `live` or the device can be recovered. */
  readonly path: string;
  /** The char device, which the server uses. */
  readonly charPath: string;
  /**
   * `dead`, `live`, `quiesced` or `fail-io`; `gone` if only the record of a dead server is left.
   */
  readonly state: string;
  /** Hardware queues. */
  readonly queues: number;
  /** Requests per queue. */
  readonly depth: number;
  /** Size in bytes; null until the server has set it. */
  readonly size: number | null;
  /** Size of a logical block in bytes; null until the server has set it. */
  readonly blockSize: number | null;
  /** Size of the largest request in bytes. */
  readonly maxIoBytes: number;
  /** Whether writes are refused; null until the server has set it. */
  readonly readOnly: boolean | null;
  /** The server's process; null if the kernel knows of none. */
  readonly serverPid: number | null;
  /** Whether that process exists. */
  readonly serverAlive: boolean;
  /** Whether the device has no server: the server died, or has not started the device yet. */
  readonly orphan: boolean;
  /** `UBLK_F_*` in force, without the prefix. */
  readonly features: readonly string[];
  /** The target; null if neither a record nor the server's command line names it. */
  readonly target: string | null;
  /** The files of the disk; null if no record names them. */
  readonly files: readonly string[] | null;
  /**
   * Its mount points in this mount namespace, including its partitions', and `[SWAP]` if it is used
   * for swap; null if unknown.
   */
  readonly mounts: readonly string[] | null;
  /** The devices on top of it: `dm-0 (vg-home)`, `md0`, `loop3`; null if unknown. */
  readonly holders: readonly string[] | null;
  /** The log of a background server; null if no record names it. */
  readonly log: string | null;
  /** The remedy if something is wrong; else null. */
  readonly hint: string | null;
}

/** A device with all its parameters: `ublk info --json`. */
export interface DeviceDetails extends DeviceRow {
  /** The parameters; null until the server has set them. */
  readonly parameters: DiskDescription | null;
  /** The user who made it. */
  readonly ownerUid: number;
  /** That user's group. */
  readonly ownerGid: number;
}

/** The result of {@linkcode readUses}; undefined if it failed. */
type AllUses = ReadonlyMap<number, Uses> | undefined;

/**
 * Asks the kernel about a device.
 *
 * @throws {UblkError} `DEVICE_NOT_FOUND`, and other errors of {@linkcode Control}.
 */
export async function readDevice(
  control: Control,
  id: number,
  allUses?: AllUses,
): Promise<DeviceDetails> {
  const info = await control.getDevInfo(id);
  const parameters = describeParams(await control.getParams(id)) ?? null;
  const record = recordOf(id, info.ublksrv_pid);
  const serverPid = info.ublksrv_pid > 0 ? info.ublksrv_pid : null;
  const serverAlive = serverPid !== null && pathExists(`/proc/${serverPid}`);
  const target = record?.target ?? (serverAlive ? await askedOf(serverPid) : undefined);
  return {
    id,
    path: blockPath(id),
    charPath: charPath(id),
    state: STATES[info.state] ?? `state ${info.state}`,
    queues: info.nr_hw_queues,
    depth: info.queue_depth,
    size: parameters?.sizeBytes ?? null,
    blockSize: parameters?.blockSize ?? null,
    maxIoBytes: info.max_io_buf_bytes,
    readOnly: parameters?.readOnly ?? null,
    serverPid,
    serverAlive,
    orphan: !serverAlive,
    features: featureNames(info.flags),
    target: target ?? null,
    files: record === undefined ? null : filesOf(record) ?? null,
    ...usesOf(id, allUses),
    log: record?.log ?? null,
    hint: serverAlive ? null : hintFor(id, info.flags),
    ownerUid: info.owner_uid,
    ownerGid: info.owner_gid,
    parameters,
  };
}

function usesOf(id: number, all: AllUses): Pick<DeviceRow, "mounts" | "holders"> {
  return all === undefined ? { mounts: null, holders: null } : all.get(id) ?? UNUSED;
}

const UNUSED: Uses = { mounts: [], holders: [] };

/** The target of a server without a record. The code for this is loaded on demand. */
async function askedOf(serverPid: number): Promise<string | undefined> {
  return (await import("../line/server_line.ts")).targetOfServer(serverPid);
}

/** The remedy for a device without a server. */
function hintFor(id: number, flags: number): string {
  const remove = `\`ublk del -n ${id}\``;
  return (flags & UBLK_F_USER_RECOVERY) === 0 ? remove : `\`ublk recover -n ${id}\` or ${remove}`;
}

/** The row of a device of which only the record is left. */
function goneRow(record: DeviceRecord): DeviceRow {
  const { id, target, log, pid } = record;
  return {
    id,
    path: blockPath(id),
    charPath: charPath(id),
    state: "gone",
    queues: 0,
    depth: 0,
    size: null,
    blockSize: null,
    maxIoBytes: 0,
    readOnly: null,
    serverPid: pid,
    serverAlive: false,
    orphan: true,
    features: [],
    target,
    files: filesOf(record) ?? null,
    mounts: [],
    holders: [],
    log,
    hint: `\`ublk del -n ${id}\` forgets it`,
  };
}

/**
 * Asks the kernel about all devices. A device that disappears meanwhile is left out; a device of
 * which only the record is left is included. Users other than root get only their own devices.
 */
export async function readDevices(control: Control): Promise<DeviceRow[]> {
  const rows: DeviceRow[] = [];
  const [ids, uses] = await Promise.all([deviceIds(), readUses()]);
  for (const id of ids) {
    try {
      const details = await readDevice(control, id, uses);
      const { parameters: _p, ownerUid: _u, ownerGid: _g, ...row } = details;
      rows.push(row);
    } catch (error) {
      if (!isLeftOut(error)) throw error;
    }
  }
  sweepRunFolder();
  const gone = readRecords().filter((record) => !ids.includes(record.id) && !isAlive(record));
  return [...rows, ...gone.map(goneRow)].sort((a, b) => a.id - b.id);
}

/** Whether to leave out a device after an error: it is gone, or belongs to another user. */
export function isLeftOut(error: unknown): boolean {
  if (!(error instanceof UblkError)) return false;
  return error.code === "DEVICE_NOT_FOUND" ||
    error.code === "PERMISSION_DENIED" && !hasAdminRights();
}

/** The server of a device, or the remedy if it has none. */
export function serverText({ serverPid, serverAlive, hint }: DeviceRow): string {
  if (serverAlive) return `pid ${serverPid}`;
  const what = hint === null ? "" : `: ${hint}`;
  return serverPid === null ? `none (orphan)${what}` : `pid ${serverPid}, dead (orphan)${what}`;
}

/** Everything about one device, one `name: value` per line. */
export function detailsLines(details: DeviceDetails): string[] {
  const { parameters, ...row } = details;
  const { id: _, size: _s, readOnly: _r, blockSize: _b, maxIoBytes: _m, ...rest } = row;
  const lines: [string, unknown][] = [
    ["device", details.id],
    ...Object.entries(rest).filter(([name, value]) =>
      !/^(orphan|server|hint)/.test(name) && value !== null && !isNone(value)
    ),
    ["server", serverText(details)],
    ...Object.entries({ maxIoBytes: details.maxIoBytes, ...parameters }),
  ];
  return lines.map(([name, value]) => `${words(name)}: ${valueText(name, value)}`);
}

/** Whether a value is an empty list. Empty features, files and mounts get no line. */
function isNone(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Splits a name into words: `maxIoBytes` becomes `max io`. */
function words(name: string): string {
  return name.replace(/Bytes$/, "").replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function valueText(name: string, value: unknown): string {
  if (Array.isArray(value)) return value.join(" ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && /(Bytes|Size)$/.test(name)) {
    return value < 1024 ? `${value} B` : `${formatSize(value)} (${value})`;
  }
  return value === "" ? "-" : String(value);
}

/** Lays out cells in lines. Each column is as wide as its widest cell. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  // Escape before measuring, because an escaped cell is wider.
  const lines = rows.map((row) => row.map(printable));
  if (lines.length === 0) return [];
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd());
}
