import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { allocatedBytes, byIsolate } from "./garbage.ts";
import { CELLS, type DiskName, type GuestRecord, type IoRecord, speedPlan } from "./plan.ts";
import { conditionLines, copyLines, gcTable, speedTable, startTable } from "./report.ts";

const CELL = CELLS[0];

function sample(
  disk: DiskName,
  round: number,
  iops: number,
  serverNs?: number,
  group = 0,
): IoRecord {
  return { type: "io", group, disk, ...CELL, round, iops, serverNs };
}

Deno.test("speedTable() computes ratios of neighbours, whatever the order of records", () => {
  const disks: DiskName[] = ["ublk-mem", "kernel-loop"];
  const records = [
    sample("kernel-loop", 1, 20_000),
    sample("ublk-mem", 0, 10_000, 500),
    sample("kernel-loop", 0, 10_000),
    sample("ublk-mem", 1, 10_000, 700),
  ];
  assertMatch(
    speedTable({ groups: [{ disks, cells: [CELL] }] }, records).split("\n")[2],
    /^\| ublk-mem : kernel-loop \| random read, depth 1 \| 0\.750 \(0\.500–1\.000\) +\| 10\.0 +\| 15\.0 +\| 600 : – +\|$/,
  );
});

// Its samples of one group were taken for those of the other.
Deno.test("speedTable() + a disk in two groups + each group has its own samples", () => {
  const groups = (["ublk-object", "ublk-unflagged"] as const).map((ours) => {
    return { disks: [ours, "ublk-async"] as const, cells: [CELL] };
  });
  const records = [
    sample("ublk-object", 0, 10_000, 1, 0),
    sample("ublk-async", 0, 20_000, 1, 0),
    sample("ublk-unflagged", 0, 10_000, 1, 1),
    sample("ublk-async", 0, 40_000, 1, 1),
  ];
  const [first, second] = speedTable({ groups }, records).split("\n").slice(2);
  assertMatch(first, /ublk-object : ublk-async .* \| 0\.500 /);
  assertMatch(second, /ublk-unflagged : ublk-async .* \| 0\.250 /);
});

Deno.test("startTable() has one row per depth", () => {
  const records: GuestRecord[] = [1, 4096, 1, 4096, 1, 4096].map((depth, index) => (
    { type: "start", depth, ms: 100 + index }
  ));
  assertEquals(startTable(records).split("\n").slice(2), [
    "| 1           | 102 (100–104)                                | 3      |",
    "| 4096        | 103 (101–105)                                | 3      |",
  ]);
});

Deno.test("gcTable() counts the first isolate separately, and the others together", () => {
  const duringIo = byIsolate([
    "[7:0x5570] 11 ms: Scavenge 3.2 (4.2) -> 2.3 (4.5) MB",
    "[7:0x7fbe] 12 ms: Scavenge 3.2 (4.2) -> 2.3 (4.5) MB",
    "[7:0x7fbe:1] 13 ms: Mark-Compact 3.2 (4.2) -> 2.3 (4.5) MB",
    "/dev/ublkb0",
  ]);
  assertEquals(duringIo, { "0x5570": 1, "0x7fbe": 2 });
  const record = {
    type: "gc",
    disk: "ublk-mem",
    ios: 400,
    before: { "0x5570": 3 },
    duringIo,
    lines: [],
  } as const;
  assertMatch(gcTable([record]), /\| ublk-mem \| 400 +\| 3 \+ 0 +\| 1 \+ 2 +\|$/);
});

Deno.test("conditionLines() and copyLines() describe the measurement", () => {
  assertEquals(conditionLines([{ type: "conditions", lines: ["a", "b"] }]), ["a", "b"]);
  assertStringIncludes(copyLines(speedPlan("smoke").groups).join("\n"), "kernel-loop: one copy");
});

Deno.test("allocatedBytes() counts from the first collection on", () => {
  const collection = (bytes: number) => `{"pid":1,"gc":"s","allocated":${bytes},"promoted":0}`;
  assertEquals(allocatedBytes(["ready", ...[7, 1000, 24].map(collection)]), 1024);
  assertEquals(allocatedBytes(["ready"]), 0);
});
