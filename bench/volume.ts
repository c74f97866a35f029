/**
 * Measures a volume's engine on this machine's disk, beside fio on the same filesystem: without ublk,
 * in turns, as ratios.
 *
 * @module
 */

import { cpuUsage } from "node:process";
import { realFiles } from "../files/real.ts";
import { makeSegments, segmentPaths } from "../volume/journal/files.ts";
import type { VolumeKey } from "../volume/seal/volume_key.ts";
import { BLOCK, newJournal, openJournalEngine, SEGMENT, SIZE } from "./journal_engine.ts";
import { formatSpread, formatTable, pairwiseRatios, spread } from "./table.ts";
import { run } from "./process.ts";
import { BenchHost, type Load } from "./volume_host.ts";

const MIB = 1 << 20;
/** Bytes of the writes that measure the journal's overhead. */
const LARGE = 128 << 10;

/** The amount of work to measure. */
export interface VolumePlan {
  /** Samples of each measure. */
  readonly rounds: number;
  /** Writes of 4 KiB per sample. */
  readonly writes: number;
  /** Writes with an fsync each per sample and job. */
  readonly syncs: number;
}

/** One run. */
export interface Sample {
  /** Reads or writes per second. */
  readonly rate: number;
  /** CPU of each in µs. */
  readonly cpuUs: number;
  /** Bytes of the journal per byte of data. */
  readonly logBytes?: number;
}

/** Something to measure. */
export interface Case {
  /** The load in words. */
  readonly name: string;
  /** The load that it is compared with. */
  readonly against: string;
  /** The goal. */
  readonly goal: string;
  /** Requests made of the engine, the last of which count. */
  readonly ours: readonly Load[];
  /** Words for fio; each of its I/Os counts as so many of ours. */
  readonly theirs: readonly string[];
  /** @default 1 */
  readonly perIo?: number;
}

/**
 * Segments of a journal of which no sample uses more than half: beyond that, the engine slows writes
 * down. The most are those of the jobs with a FLUSH each; one block in 16 is a header.
 */
function segmentsFor({ writes, syncs }: VolumePlan): number {
  const blocks = Math.max(writes, 16 * syncs) * 17 / 16;
  return Math.ceil(2 * blocks * BLOCK / SEGMENT) + 1;
}

/** One run of the engine over a journal that was written through before. */
export function ours(
  folder: string,
  plan: VolumePlan,
  loads: readonly Load[],
  key?: VolumeKey,
): Sample {
  const segments = segmentsFor(plan);
  using opened = openJournalEngine(folder, newJournal(segments), key);
  const { engine } = opened;
  const last = loads[loads.length - 1];
  using host = new BenchHost(engine, 64, last.bytes);
  for (const load of loads.slice(0, -1)) host.run(load);
  const before = cpuUsage();
  const seconds = host.run(last);
  const { user, system } = cpuUsage(before);
  const position = engine.completedPosition;
  if (position > segments * SEGMENT / 2) throw new Error("the journal slowed the writes down");
  return {
    rate: last.count / seconds,
    cpuUs: (user + system) / last.count,
    ...last.kind === "read" ? {} : { logBytes: position / (last.count * last.bytes) },
  };
}

/** One run of fio with the same file size. */
async function fio(path: string, words: readonly string[], perIo: number): Promise<Sample> {
  const out = await run("fio", [
    ...["--name=bench", `--filename=${path}`, `--size=${SIZE}`, "--direct=1", "--thread"],
    ...["--ioengine=io_uring", "--norandommap", "--randrepeat=1", "--output-format=json", ...words],
  ]);
  const { jobs: [job] } = JSON.parse(out.slice(out.indexOf("{\n")));
  const { total_ios, runtime } = job.write.total_ios > 0 ? job.write : job.read;
  const count = total_ios * perIo;
  const cpuMs = (job.usr_cpu + job.sys_cpu) / 100 * job.job_runtime;
  return { rate: count * 1000 / runtime, cpuUs: cpuMs * 1000 / count };
}

/** The loads. */
export function casesOf({ writes, syncs }: VolumePlan): Case[] {
  const block = { bytes: BLOCK, size: SIZE };
  const flushed = Math.floor(writes / 16) * 16;
  const large = Math.floor(writes * BLOCK / MIB);
  const written = { ...block, depth: 32, count: writes };
  const synced = (count: number) => [
    ...["--rw=write", "--bs=8k", "--iodepth=1", "--fdatasync=1", `--number_ios=${count}`],
  ];
  const ios = (depth: number, count: number, rw: string) => [
    ...[`--rw=${rw}`, "--bs=4k", `--iodepth=${depth}`, `--number_ios=${count}`],
  ];
  const alone = Math.floor(writes / 8);
  return [
    {
      name: "random 4 KiB writes, depth 32",
      against: "fio, in place",
      goal: "≥ 1.2 × rate, ≤ 0.7 × CPU",
      ours: [written],
      theirs: ios(32, writes, "randwrite"),
    },
    {
      name: "the same with a FLUSH every 16",
      against: "fio, a log of 68 KiB and fdatasync",
      goal: "≥ 0.8 × rate, ≤ 1.2 µs",
      ours: [{ ...written, count: flushed, flush: 16 }],
      theirs: ["--rw=write", "--bs=68k", "--fdatasync=1", `--number_ios=${flushed / 16}`],
      perIo: 16,
    },
    {
      name: "4 KiB writes with a FLUSH each, 1 job",
      against: "fio, a log of 8 KiB and fdatasync",
      goal: "≥ 0.8 × rate",
      ours: [{ ...block, depth: 1, count: syncs, flush: "each" }],
      theirs: synced(syncs),
    },
    {
      name: "the same, 16 jobs",
      against: "the same, 1 job",
      goal: "≥ 4 × rate",
      ours: [{ ...block, depth: 16, count: 16 * syncs, flush: "each" }],
      theirs: synced(syncs),
    },
    {
      name: "sequential 1 MiB writes, depth 4",
      against: "fio, in place",
      goal: "≥ 0.9 × rate",
      ours: [{ bytes: MIB, size: SIZE, depth: 4, count: large, isSequential: true }],
      theirs: ["--rw=write", "--bs=1M", "--iodepth=4", `--number_ios=${large}`],
    },
    {
      name: "random 4 KiB reads from the journal, depth 32",
      against: "fio, in place",
      goal: "≥ 0.9 × rate",
      ours: [written, { ...written, kind: "read" }],
      theirs: ios(32, writes, "randread"),
    },
    {
      name: "the same, depth 1",
      against: "the same, depth 1",
      goal: "≥ 0.87 × rate",
      ours: [written, { ...block, depth: 1, count: alone, kind: "read" }],
      theirs: ios(1, alone, "randread"),
    },
  ];
}

/** Measures, and makes the table. The folder is on the disk to measure. */
export async function volumeTable(plan: VolumePlan, folder: string): Promise<string> {
  const { rounds } = plan;
  const path = `${folder}/in-place`;
  makeSegments(realFiles, folder, segmentsFor(plan), SEGMENT);
  // A file of which no extent is fresh, and a journal that has been used before.
  await run("dd", ["if=/dev/zero", `of=${path}`, "bs=1M", `count=${SIZE / MIB}`, "conv=fsync"]);
  for (const segment of segmentPaths(realFiles, folder)) {
    const args = [`of=${segment}`, "bs=1M", `count=${SEGMENT / MIB}`, "conv=fsync,notrunc"];
    await run("dd", ["if=/dev/zero", ...args]);
  }
  const rows: string[][] = [];
  for (const { name, against, goal, perIo = 1, ...sides } of casesOf(plan)) {
    const mine: Sample[] = [];
    const others: Sample[] = [];
    ours(folder, plan, sides.ours);
    for (let round = 0; round < rounds; round++) {
      mine.push(ours(folder, plan, sides.ours));
      others.push(await fio(path, sides.theirs, perIo));
    }
    const ratio = (field: "rate" | "cpuUs") =>
      formatSpread(
        spread(
          pairwiseRatios(mine.map((one) => one[field]), others.map((one) => one[field])),
        ),
      );
    const logBytes = mine.flatMap((sample) => sample.logBytes ?? []);
    rows.push([
      ...[name, against, goal, ratio("rate"), ratio("cpuUs")],
      formatSpread(spread(mine.map(({ cpuUs }) => cpuUs))),
      logBytes.length > 0 ? formatSpread(spread(logBytes), 3) : "–",
    ]);
  }
  const count = Math.floor(plan.writes * BLOCK / LARGE);
  const large = ours(folder, plan, [{ bytes: LARGE, size: SIZE, depth: 32, count }]);
  rows.push([
    ...["random 128 KiB writes, depth 32", "", "≤ 1.03 log bytes per byte", "", ""],
    ...[large.cpuUs.toFixed(2), large.logBytes!.toFixed(3)],
  ]);
  const header = ["ours", "against", "goal", "rate", "CPU", "µs each", "log bytes per byte"];
  return formatTable(header, rows);
}
