/**
 * The benchmarks: `deno task bench`. See `docs/benchmarks.md`.
 *
 * ```text
 * bench/main.ts [ring|map|volume|hardware|nbd|kinds|doors|speed|start]… [--quick] [--json FILE]
 *   [--store URL] [--disk NAME] [--parallel]
 * bench/main.ts --smoke     everything once, with tiny counts, on this machine, which must have ublk
 * ```
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { ensureHostPackages, NBDKIT_PACKAGE_NAMES } from "../vm/packages.ts";
import { ensureKublk } from "../vm/kublk.ts";
import { VmError } from "../vm/host.ts";
import { runProgram } from "../vm/program.ts";
import { runPlan } from "./guest.ts";
import {
  doorsPlan,
  type GuestPlan,
  type GuestRecord,
  kindsPlan,
  type Size,
  speedPlan,
  startPlan,
} from "./plan.ts";
import { conditionLines, copyLines, gcTable, speedTable, startTable } from "./report.ts";
import { hardwareTables, measureHardware } from "./hardware.ts";
import { mapTable, measureMap } from "./map.ts";
import { measureNbd, nbdTable } from "./nbd.ts";
import { hostConditions, measureRing, ringTable } from "./ring.ts";
import { volumeTable } from "./volume.ts";
import { openBucket } from "./bucket.ts";
import { rowsTable } from "./volume_rows.ts";
import { sealedTable } from "./volume_sealed.ts";
import { storeTable } from "./volume_store_rows.ts";
import { type BedOptions, DETERMINISTIC, measureOn, WALL_CLOCK } from "./vm.ts";

const USAGE =
  `usage: deno task bench [ring|map|volume|hardware|nbd|kinds|doors|speed|start]… [OPTION…]

  ring      ns per NOP at batch 1, 32 and 128, on this machine's kernel
  map       a volume's block map: CPU per insert and lookup, and memory
  volume    a volume's engine on the disk of this folder, beside fio, how long
            it takes to open, what it writes besides data, and how it does beside the
            throughput of a bucket, under snapshots and overwritten; needs 5 GiB, fio and curl
  hardware  CPU per request of each kind of backend beside a server in C, its garbage, and how
            late its timers are, on this machine's kernel (6.7 or newer) without ublk; needs gcc
  nbd       ublk-nbd beside nbdkit and qemu-nbd over a Unix socket: rate, and CPU per request;
            needs fio with its nbd engine, nbdcopy, nbdkit and qemu-nbd
  kinds     in a guest whose clock counts instructions: each kind of backend against our RAM
            disk, against one another and against nbdkit's plugins
  doors     in a guest whose clock counts instructions: our RAM disk by ublk and by the kernel's
            client of ublk-nbd, beside the kernel's loop device and nbdkit
  speed     in a guest whose clock counts instructions: against kublk and the kernel's loop
            device, and the garbage collections during steady I/O
  start     in an ordinary guest: from command to usable disk, by queue depth
  (default: all)

  --quick      fewer and shorter samples, for rough figures
  --json FILE  write every sample to FILE
  --store URL  the bucket of volumes: s3://BUCKET/PREFIX, with credentials in the environment,
               or ceph: Ceph in a chroot, as root (default: one of ours, in a process beside)
  --disk NAME  of speed, kinds and doors only the comparisons with this disk, such as ublk-volume
  --parallel   boot even while another guest runs
  --smoke      everything once with tiny counts, on this machine instead of a guest: for tests;
               a section and --smoke: that part alone`;

const SECTIONS = [
  ...["ring", "map", "volume", "hardware", "nbd", "kinds", "doors", "speed", "start"],
];

const RING_PLANS = {
  full: { rounds: 9, nops: 200_000 },
  quick: { rounds: 5, nops: 50_000 },
  smoke: { rounds: 2, nops: 500 },
};

const MAP_PLANS = {
  full: { rounds: 5, extents: [1e6, 1e7], operations: 1_000_000 },
  quick: { rounds: 3, extents: [1e6], operations: 500_000 },
  smoke: { rounds: 1, extents: [1e3], operations: 1_000 },
};

const VOLUME_PLANS = {
  full: { rounds: 5, writes: 100_000, syncs: 2_000 },
  quick: { rounds: 3, writes: 60_000, syncs: 500 },
  smoke: { rounds: 1, writes: 20_000, syncs: 100 },
};

const ROWS_PLANS = {
  full: {
    ...{ rounds: 5, commits: 9, mebibytes: 512, segments: 8 },
    opens: [[1e6, 0.5], [1e7, 4]],
  },
  quick: { rounds: 3, opens: [[1e6, 0.5]], commits: 2, mebibytes: 128, segments: 3 },
  smoke: { rounds: 1, opens: [[1e4, 0.5]], commits: 1, mebibytes: 16, segments: 2 },
} as const;

const STORE_PLANS = {
  full: {
    ...{ rounds: 5, mebibytes: 512, snapshots: 10, overwritten: 1024 },
    ...{ snapshotsOf: [1e5, 1e7], memory: { extents: 1e6, count: 100_000 } },
  },
  quick: {
    ...{ rounds: 3, mebibytes: 128, snapshots: 5, overwritten: 256 },
    ...{ snapshotsOf: [1e5, 1e6], memory: { extents: 1e6, count: 20_000 } },
  },
  smoke: {
    ...{ rounds: 1, mebibytes: 16, snapshots: 1, overwritten: 16 },
    ...{ snapshotsOf: [1e3, 1e4], memory: { extents: 1e4, count: 500 } },
  },
} as const;

const NBD_PLANS = {
  full: { rounds: 7, requests: 200_000, passes: 20, warm: 2 },
  quick: { rounds: 3, requests: 100_000, passes: 8, warm: 1 },
  smoke: { rounds: 1, requests: 2_000, passes: 1, warm: 1 },
};

const HARDWARE_PLANS = {
  full: { rounds: 5, warm: 60_000, requests: 60_000, garbageRequests: 500_000, probeMs: 10_000 },
  quick: { rounds: 3, warm: 60_000, requests: 20_000, garbageRequests: 200_000, probeMs: 3_000 },
  smoke: { rounds: 1, warm: 40, requests: 40, garbageRequests: 40, probeMs: 0 },
};

function section(title: string, conditions: readonly string[], table: string): void {
  const lines = conditions.map((line) => `- ${line}\n`).join("");
  console.log(`\n## ${title}\n\n${lines}\n${table}`);
}

async function ring(size: Size): Promise<void> {
  const samples = measureRing(RING_PLANS[size]);
  section("The ring: NOPs on this machine's kernel", await hostConditions(), ringTable(samples));
}

async function map(size: Size): Promise<void> {
  const samples = measureMap(MAP_PLANS[size]);
  section("The block map of a volume of 1 TiB", await hostConditions(), mapTable(samples));
}

async function volume(size: Size, url: string | undefined): Promise<void> {
  const folder = await Deno.makeTempDir({ dir: Deno.cwd(), prefix: ".bench-volume-" });
  try {
    const table = await volumeTable(VOLUME_PLANS[size], folder);
    section("A volume's engine on this machine's disk", await hostConditions(), table);
    const sealed = sealedTable(VOLUME_PLANS[size], folder);
    section("The same, encrypted", await hostConditions(), sealed);
    const rows = await rowsTable(ROWS_PLANS[size], folder);
    section("A volume's store and journal on this machine's disk", await hostConditions(), rows);
    await using bucket = await openBucket(url);
    const beside = await storeTable(STORE_PLANS[size], folder, bucket.url);
    section("A volume beside its store", [...await hostConditions(), bucket.words], beside);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function hardware(size: Size): Promise<void> {
  const tables = hardwareTables(await measureHardware(HARDWARE_PLANS[size]));
  const title = "Kinds of backends on this machine's kernel, without ublk";
  section(title, await hostConditions(), tables);
}

async function nbd(size: keyof typeof NBD_PLANS): Promise<void> {
  // On tmpfs: a disk would be measured with the servers.
  const folder = await Deno.makeTempDir({ dir: "/dev/shm", prefix: "ublk-bench-nbd-" });
  try {
    const table = nbdTable(await measureNbd(NBD_PLANS[size], folder));
    const title = "Servers of NBD over a Unix socket, 64 MiB in memory or in a file on tmpfs";
    section(title, await hostConditions(), table);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** How to measure in a guest. */
interface Bed extends BedOptions {
  /** Only comparisons with this disk. @default All */
  readonly disk?: string;
}

/** The part of a plan that is about one disk. */
function withDisk(plan: GuestPlan, { disk }: Bed): GuestPlan {
  if (disk === undefined) return plan;
  const has = (names: readonly string[]) => names.includes(disk);
  const groups = plan.groups.filter(({ disks }) => has(disks));
  if (groups.length > 0) {
    return {
      ...plan,
      groups,
      gcDisks: plan.gcDisks.filter((one) => one === disk),
    };
  }
  const names = new Set(plan.groups.flatMap(({ disks }) => disks));
  throw new VmError(
    `--disk ${disk}: there is none in this section; there are ${[...names].join(", ")}`,
  );
}

async function speed(size: Size, options: Bed): Promise<GuestRecord[]> {
  const kublk = await ensureKublk(options.signal);
  const plan = withDisk(speedPlan(size, kublk.path), options);
  const records = await measureOn(DETERMINISTIC, plan, options);
  showSpeed(plan, records, [`kublk built from ${kublk.version}`]);
  return records;
}

function showSpeed(
  plan: GuestPlan,
  records: GuestRecord[],
  more: string[],
): void {
  const conditions = [...conditionLines(records), ...more];
  const same = "one queue, depth 128, requests up to 1 MiB, scheduler none; samples taken in turn";
  section(
    "Random I/O",
    [...conditions, same, ...copyLines(plan.groups)],
    speedTable(plan, records),
  );
  if (plan.gcDisks.length === 0) return;
  section("Garbage in the steady state", [
    "V8's collections, young generation cut to 1 MiB, during random 4 KiB I/O at depth 32 and 1",
  ], gcTable(records));
}

async function kinds(size: Size, options: Bed): Promise<GuestRecord[]> {
  return await besideNbdkit("Kinds of backends", kindsPlan(size), options);
}

async function doors(size: Size, options: Bed): Promise<GuestRecord[]> {
  return await besideNbdkit("Ways to a block device", doorsPlan(size), options);
}

async function besideNbdkit(title: string, all: GuestPlan, options: Bed) {
  const plan = withDisk(all, options);
  await ensureHostPackages(NBDKIT_PACKAGE_NAMES);
  const records = await measureOn(DETERMINISTIC, plan, options);
  showDisks(title, plan, records);
  return records;
}

function showDisks(title: string, plan: GuestPlan, records: GuestRecord[]): void {
  const conditions = [...conditionLines(records), ...copyLines(plan.groups)];
  section(title, conditions, speedTable(plan, records));
}

async function start(size: Size, options: BedOptions): Promise<GuestRecord[]> {
  const records = await measureOn(WALL_CLOCK, startPlan(size), options);
  section("Start-up of ublk-null", conditionLines(records), startTable(records));
  return records;
}

/** Runs everything on this machine, which must have ublk. */
async function smoke(): Promise<void> {
  await ring("smoke");
  await map("smoke");
  // A guest of the tests has no network, but sees files built on the host.
  const kublk = await ensureKublk().then(({ path }) => path, () => undefined);
  const { startDepths, startRounds } = startPlan("smoke");
  const records: GuestRecord[] = [];
  const plan = { ...speedPlan("smoke", kublk), startDepths, startRounds };
  await runPlan(plan, (record) => records.push(record));
  const some = kindsPlan("smoke");
  const kindRecords: GuestRecord[] = [];
  await runPlan(some, (record) => kindRecords.push(record));
  showDisks("Kinds of backends", some, kindRecords);
  showSpeed(plan, records, [kublk === undefined ? "without kublk" : `kublk at ${kublk}`]);
  section("Start-up of ublk-null", [], startTable(records));
}

async function main(args: string[], signal: AbortSignal): Promise<number> {
  const options = parseArgs(args, {
    boolean: ["help", "quick", "smoke", "parallel"],
    string: ["json", "store", "disk"],
    unknown: (arg) => {
      if (SECTIONS.includes(arg)) return true;
      console.error(`unknown: ${arg}\n\n${USAGE}`);
      Deno.exit(2);
    },
  });
  if (options.help) console.log(USAGE);
  else if (options.smoke && options._.length === 0) await smoke();
  else {
    const wanted = options._.length === 0 ? SECTIONS : options._;
    const size = options.smoke ? "smoke" : options.quick ? "quick" : "full";
    const bed = { parallel: options.parallel, signal, disk: options.disk };
    const records: GuestRecord[] = [];
    if (wanted.includes("ring")) await ring(size);
    if (wanted.includes("map")) await map(size);
    if (wanted.includes("volume")) await volume(size, options.store);
    if (wanted.includes("hardware")) await hardware(size);
    if (wanted.includes("nbd")) await nbd(size);
    if (wanted.includes("kinds")) records.push(...await kinds(size, bed));
    if (wanted.includes("doors")) records.push(...await doors(size, bed));
    if (wanted.includes("speed")) records.push(...await speed(size, bed));
    if (wanted.includes("start")) records.push(...await start(size, bed));
    if (options.json !== undefined) {
      await Deno.writeTextFile(options.json, JSON.stringify(records, null, 1) + "\n");
    }
  }
  return 0;
}

if (import.meta.main) await runProgram("bench", (signal) => main(Deno.args, signal));
