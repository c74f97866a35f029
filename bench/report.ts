/**
 * Formats records as tables.
 *
 * @module
 */

import { COPIES } from "./copies.ts";
import type {
  Cell,
  DiskName,
  GcRecord,
  GuestPlan,
  GuestRecord,
  IoRecord,
  StartRecord,
} from "./plan.ts";
import { formatSpread, formatTable, pairwiseRatios, spread } from "./table.ts";

type OfType<T extends GuestRecord["type"]> = Extract<GuestRecord, { type: T }>;

/** The records of one type. */
export function ofType<T extends GuestRecord["type"]>(
  records: readonly GuestRecord[],
  type: T,
): OfType<T>[] {
  return records.filter((record): record is OfType<T> => record.type === type);
}

/** The conditions of all tables of a run. */
export function conditionLines(records: readonly GuestRecord[]): string[] {
  return ofType(records, "conditions").flatMap(({ lines }) => lines);
}

/** The table that compares our disk with each other disk of its group, in every cell. */
export function speedTable(
  plan: Pick<GuestPlan, "groups">,
  records: readonly GuestRecord[],
): string {
  const samples = ofType(records, "io");
  const rows = plan.groups.flatMap(({ disks: [ours, ...others], cells }, nth) => {
    const own = samples.filter(({ group }) => group === nth);
    return others.flatMap((theirs) => cells.map((cell) => speedRow(ours, theirs, cell, own)));
  });
  return formatTable([
    "ours : theirs",
    "4 KiB",
    "ratio, median (min–max)",
    "ours, kIOPS",
    "theirs, kIOPS",
    "server ns per I/O",
  ], rows);
}

function speedRow(
  ours: DiskName,
  theirs: DiskName,
  cell: Cell,
  samples: readonly IoRecord[],
): string[] {
  const [our, their] = [ours, theirs].map((name) => inCell(name, cell, samples));
  const iops = (list: readonly IoRecord[]) => list.map((sample) => sample.iops / 1e3);
  const ratios = pairwiseRatios(iops(our), iops(their));
  return [
    `${ours} : ${theirs}`,
    `${cell.access.replace("rand", "random ")}, depth ${cell.depth}`,
    formatSpread(spread(ratios), 3),
    spread(iops(our)).median.toFixed(1),
    spread(iops(their)).median.toFixed(1),
    `${serverCost(our)} : ${serverCost(their)}`,
  ];
}

function inCell(disk: DiskName, cell: Cell, samples: readonly IoRecord[]): IoRecord[] {
  return samples
    .filter((record) => record.disk === disk)
    .filter((record) => record.access === cell.access && record.depth === cell.depth)
    .sort((a, b) => a.round - b.round);
}

function serverCost(samples: readonly IoRecord[]): string {
  const costs = samples.flatMap(({ serverNs }) => serverNs ?? []);
  return costs.length === 0 ? "–" : spread(costs).median.toFixed(0);
}

/** The copies that each disk of a run makes, one line each. */
export function copyLines(groups: GuestPlan["groups"]): string[] {
  return [...new Set(groups.flatMap(({ disks }) => disks))].map((disk) =>
    `${disk}: ${COPIES[disk]}`
  );
}

/** The table of start-up times by depth. */
export function startTable(records: readonly GuestRecord[]): string {
  const byDepth = Map.groupBy<number, StartRecord>(ofType(records, "start"), ({ depth }) => depth);
  const rows = [...byDepth].sort(([a], [b]) => a - b).map(([depth, starts]) => [
    String(depth),
    formatSpread(spread(starts.map(({ ms }) => ms)), 0),
    String(starts.length),
  ]);
  return formatTable(
    ["queue depth", "command to usable disk, ms, median (min–max)", "starts"],
    rows,
  );
}

/** The table of collections during steady I/O. */
export function gcTable(records: readonly GuestRecord[]): string {
  const rows = ofType(records, "gc").map((record) => [
    record.disk,
    String(record.ios),
    byThread(record, "before"),
    byThread(record, "duringIo"),
  ]);
  return formatTable(
    ["disk", "I/Os", "collections before, main + serving", "during the I/Os, main + serving"],
    rows,
  );
}

/** The main thread's isolate starts first, and so appears first. */
function byThread(record: GcRecord, when: "before" | "duringIo"): string {
  const isolates = [...new Set([...Object.keys(record.before), ...Object.keys(record.duringIo)])];
  const [main, ...others] = isolates.map((isolate) => record[when][isolate] ?? 0);
  return `${main ?? 0} + ${others.reduce((sum, count) => sum + count, 0)}`;
}
