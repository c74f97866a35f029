/**
 * The rooms of the house, and which may import which: `ARCHITECTURE.md` as a table.
 *
 * A room lists only rooms that stand before it, so that layers point one way. `layers_test.ts`
 * checks every import against it, by types and by `import()` too. Tests are free: a unit test may
 * import whatever it puts together.
 *
 * @module
 */

import type { Import } from "./import_graph.ts";

/** A room. */
export interface Room {
  /** Its folder, where {@linkcode holds} does not say otherwise. */
  readonly name: string;
  /** The files that it consists of, or folders with a slash at the end; the longest match counts. */
  readonly holds?: readonly string[];
  /** The rooms that it may import, or single files of rooms: their doors. */
  readonly imports: readonly string[];
}

/** Beneath everything that serves or makes a disk. */
const GROUND = ["uapi", "uring"];
/** Of a room that may know what a disk is. */
const DISKS = [...GROUND, "files", "disk"];
/** What is known of a serving thread outside of it: what it counts, logs and is told. */
const QUEUE_DOORS = [
  "queue/intervals.ts",
  "queue/log_events.ts",
  "queue/messages.ts",
  "queue/meter.ts",
  "queue/stats.ts",
];
/** Everything that a command may use: how a queue or a backend works is none of its business. */
const COMMANDS = [
  ...DISKS,
  ...["ctrl", "device", "metrics.ts"],
  ...QUEUE_DOORS,
  ...["backends/targets.ts", "backends/wrappers.ts", "backends/volume.ts"],
];

/** All rooms, each after those that it may import. */
export const ROOMS: readonly Room[] = [
  { name: "uapi", imports: [] },
  { name: "uring", imports: ["uapi"] },
  { name: "files", imports: GROUND },
  { name: "disk", imports: [...GROUND, "files"] },
  { name: "store", imports: [...GROUND, "files"] },
  { name: "volume", imports: [...DISKS, "store"] },
  { name: "nbd", imports: DISKS },
  { name: "door of nbd", holds: ["nbd.ts"], imports: [...DISKS, "nbd"] },
  { name: "exclusion", holds: ["ebs/exclusion.ts"], imports: ["uapi"] },
  { name: "ebs/claims", imports: ["uapi", "store", "volume", "exclusion"] },
  { name: "ebs/reconcile", imports: ["uapi", "store", "volume", "exclusion", "ebs/claims"] },
  { name: "ctrl", imports: GROUND },
  { name: "queue", imports: DISKS },
  { name: "backends", imports: DISKS },
  { name: "backends/wrappers", imports: [...DISKS, "backends/backing_file.ts"] },
  {
    name: "backends/zip",
    imports: [
      ...DISKS,
      ...["backends/backing_file.ts", "backends/file_bytes.ts", "backends/file_requests.ts"],
      ...["backends/stripe_layout.ts", "backends/wrappers/window.ts"],
    ],
  },
  {
    name: "door of zip",
    holds: ["backends/zip.ts"],
    imports: [...DISKS, "backends", "backends/zip"],
  },
  {
    name: "volumes as disks",
    holds: ["backends/volume.ts"],
    imports: [...DISKS, "store", "volume"],
  },
  {
    name: "door of volumes",
    holds: ["volume.ts"],
    imports: [...DISKS, "store", "volume", "volumes as disks"],
  },
  {
    name: "doors of backends",
    holds: ["backends/targets.ts", "backends/wrappers.ts"],
    imports: [...DISKS, "backends", "backends/wrappers", "door of zip", "volumes as disks"],
  },
  { name: "device", imports: [...DISKS, "ctrl", "queue"] },
  {
    name: "ebs",
    imports: [
      ...[...DISKS, "store", "volume", "volumes as disks", "door of nbd", "device/serve.ts"],
      ...["exclusion", "ebs/claims", "ebs/reconcile"],
    ],
  },
  { name: "udev", imports: [...GROUND, "ctrl", "files"] },
  { name: "metrics", imports: [...GROUND, "device", ...QUEUE_DOORS] },
  {
    name: "door of metrics",
    holds: ["metrics.ts"],
    imports: [...GROUND, "device", "disk/counters.ts", "metrics", ...QUEUE_DOORS],
  },
  { name: "door of tests", holds: ["testing.ts"], imports: DISKS },
  {
    name: "door",
    holds: ["mod.ts"],
    imports: [
      ...DISKS,
      ...[
        "backends",
        "backends/wrappers",
        "door of zip",
        "doors of backends",
        "ctrl",
        "queue",
        "device",
      ],
    ],
  },
  { name: "cmd/program", imports: COMMANDS },
  {
    name: "records of servers",
    holds: ["cmd/devices/disk_request.ts", "cmd/devices/records.ts", "cmd/devices/run_folder.ts"],
    imports: COMMANDS,
  },
  {
    name: "cmd/line",
    imports: [
      ...[...COMMANDS, "cmd/program", "records of servers", "metrics/address.ts"],
      "nbd/address.ts",
    ],
  },
  { name: "cmd/devices", imports: [...COMMANDS, "cmd/program", "records of servers", "cmd/line"] },
  {
    name: "cmd/completion",
    imports: [...COMMANDS, "cmd/program", "cmd/line", "cmd/devices"],
  },
  {
    name: "cmd/watch",
    imports: [...COMMANDS, "cmd/program", "records of servers", "cmd/line", "cmd/devices"],
  },
  {
    name: "cmd/volume",
    imports: [
      ...[...COMMANDS, "store", "volume", "cmd/program", "records of servers", "cmd/line"],
      ...["cmd/devices", "cmd/watch/counter_text.ts", "cmd/watch/rows.ts"],
    ],
  },
  {
    name: "cmd/server",
    imports: [
      ...[...COMMANDS, "cmd/program", "records of servers", "cmd/line", "cmd/devices"],
      ...["cmd/completion", "door of nbd"],
    ],
  },
  {
    name: "cmd/ebs",
    imports: [
      ...[...COMMANDS, "ebs", "volume", "cmd/program", "cmd/line", "cmd/watch/rows.ts"],
      ...["cmd/server/log.ts", "cmd/server/open_files.ts", "cmd/server/service.ts"],
    ],
  },
  {
    name: "cmd/sfs",
    imports: [
      ...[...DISKS, "door of volumes", "store/s3/environment.ts", "cmd/program", "cmd/line"],
    ],
  },
  {
    name: "cmd",
    imports: [
      ...[...COMMANDS, "backends/loop.ts", "backends/memory.ts", "backends/null.ts"],
      ...["backends/zip.ts", "cmd/program", "records of servers", "cmd/line", "cmd/devices"],
      ...["cmd/watch", "cmd/server", "cmd/completion", "cmd/volume", "door of volumes", "cmd/sfs"],
      ...["cmd/ebs", "ebs/nats/aftermath.ts"],
    ],
  },
  { name: "vm", imports: [] },
  { name: "bench/bed", imports: [...DISKS, "queue", "door"] },
  { name: "bench", imports: [...DISKS, "store", "volume", "vm", "bench/bed"] },
  { name: "demo", imports: ["vm", "disk/size.ts", "cmd/line/args.ts"] },
  {
    name: "tests",
    imports: [
      ...DISKS,
      ...["ctrl", "queue", "backends", "backends/wrappers", "backends/zip", "door of zip"],
      ...["doors of backends", "store", "volume", "door of volumes", "nbd", "door of nbd"],
      ...["device", "udev", "metrics", "door of metrics", "door of tests", "door"],
      ...["cmd/program", "records of servers", "cmd/line", "cmd/devices", "cmd/watch"],
      ...["cmd/server", "cmd/completion", "cmd", "vm", "exclusion", "ebs/claims", "ebs"],
      ...["ebs/reconcile"],
    ],
  },
];

/** The room of a module, or undefined for one that stands in none. */
export function roomOf(path: string, rooms: readonly Room[] = ROOMS): Room | undefined {
  let found: Room | undefined;
  let longest = 0;
  for (const room of rooms) {
    for (const place of room.holds ?? [`${room.name}/`]) {
      const isIn = place.endsWith("/") ? path.startsWith(place) : path === place;
      if (isIn && place.length > longest) [found, longest] = [room, place.length];
    }
  }
  return found;
}

/** Whether a module is a test. */
export function isTest(path: string): boolean {
  return path.endsWith("_test.ts");
}

/** What a module may not import, in words; undefined for an import that is in order. */
export function breach(
  { from, to, kind }: Import,
  rooms: readonly Room[] = ROOMS,
): string | undefined {
  const [room, target] = [roomOf(from, rooms), roomOf(to, rooms)];
  const line = `${from} imports ${to}${kind === "code" ? "" : ` (${kind})`}`;
  if (isTest(to)) return `${line}: a test is imported by nothing`;
  if (isTest(from)) return undefined;
  if (room === undefined) return `${from} is in no room of tests/layers.ts`;
  if (target === undefined) return `${to} is in no room of tests/layers.ts`;
  if (room === target || room.imports.includes(target.name) || room.imports.includes(to)) {
    return undefined;
  }
  return `${line}: ${room.name} may not import ${target.name}`;
}
