/**
 * The devices that the kernel has, whoever made them, as data and as text.
 *
 * @module
 */

import { formatSize } from "../backends/size.ts";
import type { Control } from "../ctrl/control.ts";
import { describeParams, type DiskDescription } from "../ctrl/params.ts";
import { blockPath, charPath } from "../device/node.ts";
import { UblkError } from "../uapi/error.ts";
import { featureNames } from "../uapi/features.ts";
import { pathExists } from "../uring/libc.ts";

/** `UBLK_S_DEV_*` in words, by value. */
const STATES: readonly string[] = ["dead", "live", "quiesced", "fail-io"];

/** What is known of a device. The names are those of `ublk list --json`. */
export interface DeviceRow {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The disk; its node is there only while the state is `live` or the device can be recovered. */
  readonly path: string;
  /** The server's side. */
  readonly charPath: string;
  /** `dead`, `live`, `quiesced` or `fail-io`. */
  readonly state: string;
  /** Hardware queues. */
  readonly queues: number;
  /** Requests per queue. */
  readonly depth: number;
  /** Bytes; null before the server has said. */
  readonly size: number | null;
  /** Bytes of a logical block; null before the server has said. */
  readonly blockSize: number | null;
  /** Bytes of the largest request. */
  readonly maxIoBytes: number;
  /** Writes are refused; null before the server has said. */
  readonly readOnly: boolean | null;
  /** The server's process, or null if the kernel knows of none. */
  readonly serverPid: number | null;
  /** Whether that process exists. */
  readonly serverAlive: boolean;
  /** Nobody serves it: its server died, or has not started it yet. */
  readonly orphan: boolean;
  /** `UBLK_F_*` in force, without the prefix. */
  readonly features: readonly string[];
}

/** A device with all of its parameters: `ublk info --json`. */
export interface DeviceDetails extends DeviceRow {
  /** The parameters, or null before the server has set them. */
  readonly parameters: DiskDescription | null;
  /** The user who made it. */
  readonly ownerUid: number;
  /** That user's group. */
  readonly ownerGid: number;
}

/**
 * The ids of all devices, in order. A child process looks: Deno itself reads folders of `/sys` and
 * `/dev` only with every permission there is.
 */
export async function deviceIds(): Promise<number[]> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", "for f in /sys/class/ublk-char/ublkc* /dev/ublkc*; do echo $f; done"],
    stdin: "null",
    stderr: "null",
  }).output();
  const ids = new TextDecoder().decode(stdout).matchAll(/\/ublkc(\d+)$/gm);
  return [...new Set(Array.from(ids, ([, id]) => Number(id)))].sort((a, b) => a - b);
}

/**
 * Asks the kernel about a device.
 *
 * @throws {UblkError} `DEVICE_NOT_FOUND` and what else {@linkcode Control} throws.
 */
export async function readDevice(control: Control, id: number): Promise<DeviceDetails> {
  const info = await control.getDevInfo(id);
  const parameters = describeParams(await control.getParams(id)) ?? null;
  const serverPid = info.ublksrv_pid > 0 ? info.ublksrv_pid : null;
  const serverAlive = serverPid !== null && pathExists(`/proc/${serverPid}`);
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
    ownerUid: info.owner_uid,
    ownerGid: info.owner_gid,
    parameters,
  };
}

/** Asks the kernel about all devices. One that goes away meanwhile is left out. */
export async function readDevices(control: Control): Promise<DeviceRow[]> {
  const rows: DeviceRow[] = [];
  for (const id of await deviceIds()) {
    try {
      const { parameters: _p, ownerUid: _u, ownerGid: _g, ...row } = await readDevice(control, id);
      rows.push(row);
    } catch (error) {
      if (!(error instanceof UblkError && error.code === "DEVICE_NOT_FOUND")) throw error;
    }
  }
  return rows;
}

const HEADINGS = ["ID", "PATH", "STATE", "QUEUES", "DEPTH", "SIZE", "BLOCK", "MODE", "SERVER"];

/** The rows of `ublk list`, under headings. */
export function listText(rows: readonly DeviceRow[]): string {
  return columns([HEADINGS, ...rows.map(cells)]);
}

function cells(row: DeviceRow): string[] {
  return [
    `${row.id}`,
    row.path,
    row.state,
    `${row.queues}`,
    `${row.depth}`,
    row.size === null ? "?" : formatSize(row.size),
    row.blockSize === null ? "?" : `${row.blockSize}`,
    row.readOnly === null ? "?" : row.readOnly ? "ro" : "rw",
    serverText(row),
  ];
}

function serverText({ serverPid, serverAlive }: DeviceRow): string {
  if (serverPid === null) return "none (orphan)";
  return serverAlive ? `pid ${serverPid}` : `pid ${serverPid}, dead (orphan)`;
}

/** Everything about one device, one `name: value` per line. */
export function detailsText(details: DeviceDetails): string {
  const { parameters, ...row } = details;
  const { id: _, size: _s, readOnly: _r, blockSize: _b, maxIoBytes: _m, ...rest } = row;
  const lines: [string, unknown][] = [
    ["device", details.id],
    ...Object.entries(rest).filter(([name]) => !/^(orphan|server)/.test(name)),
    ["server", serverText(details)],
    ...Object.entries({ maxIoBytes: details.maxIoBytes, ...parameters }),
  ];
  return lines.map(([name, value]) => `${words(name)}: ${valueText(name, value)}`).join("\n");
}

/** `maxIoBytes` as `max io`. */
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

/** Lines of cells, each column as wide as its widest. */
export function columns(lines: readonly (readonly string[])[]): string {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd())
    .join("\n");
}
