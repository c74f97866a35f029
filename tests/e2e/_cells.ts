/**
 * Every target on every data path: what there is to prove, and where it cannot be.
 *
 * @module
 */

import type { BackendSpec, DeviceOptions } from "../../mod.ts";
import { DATA_PATHS, type DataPathName } from "../../uapi/data_path.ts";

/** How requests arrive and leave. */
export const ARRIVALS = {
  "command per request": {},
  "batch": { batch: true },
  "per-I/O daemons": { perIoDaemons: true, threads: 3 },
} as const satisfies Record<string, Partial<DeviceOptions>>;

/** One of {@linkcode ARRIVALS}. */
export type Arrival = keyof typeof ARRIVALS;

/** What a target can do with data, which decides which paths there are. */
export interface Target {
  /** As on the command line. */
  readonly name: string;
  /** Nobody sees the bytes: zero copy is possible. */
  readonly ring: boolean;
  /** What is written is read back; otherwise it reads as zeroes. */
  readonly keeps: boolean;
  /** One thread serves it. */
  readonly single?: boolean;
  /** Makes it, with files in a folder where it needs some. */
  readonly make: (folder: string, size: number) => BackendSpec | Promise<BackendSpec>;
}

/** A target on a data path. */
export interface Cell {
  readonly target: Target;
  readonly path: DataPathName;
  readonly arrival: Arrival;
}

/** The first kernel that has each. */
const PATH_KERNEL: Record<DataPathName, string> = {
  "copy": "6.0",
  "get-data": "6.0",
  "user-copy": "6.5",
  "zero-copy": "6.15",
  "auto-zero-copy": "6.16",
  "auto-zero-copy-fallback": "6.16",
};
const ARRIVAL_KERNEL: Record<Arrival, string> = {
  "command per request": "6.0",
  "batch": "7.0",
  "per-I/O daemons": "6.16",
};

/** Why the cell can be on no kernel, or "". */
export function impossible({ target, path, arrival }: Cell): string {
  if (arrival === "batch" && path === "get-data") {
    return "the driver clears NEED_GET_DATA with BATCH_IO";
  }
  if (path.includes("zero-copy") && !target.ring) {
    return "its bytes are computed here, and with zero copy the server never sees them";
  }
  if (arrival === "per-I/O daemons" && target.single) return "its state is in one thread";
  return "";
}

/** The first kernel that has the cell. */
export function kernelOf({ path, arrival }: Cell): string {
  const versions = [PATH_KERNEL[path], ARRIVAL_KERNEL[arrival]];
  return versions.sort((a, b) => number(a) - number(b))[1];
}

/** `"6.12"` as a number that compares as versions do. */
export function number(version: string): number {
  const [major, minor] = version.split(".").map(Number);
  return major * 1000 + minor;
}

/** The name of the test that proves the cell. */
export function testName({ target, path, arrival }: Cell): string {
  return `${target.name} + ${path}, ${arrival} + holds what the model holds`;
}

/** All cells of some targets. */
export function cells(targets: readonly Target[]): Cell[] {
  return targets.flatMap((target) =>
    DATA_PATHS.flatMap((path) =>
      (Object.keys(ARRIVALS) as Arrival[]).map((arrival) => ({ target, path, arrival }))
    )
  );
}
