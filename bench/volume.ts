/**
 * Measures a volume's engine on this machine's disk, beside fio on the same filesystem: without ublk,
 * in turns, as ratios.
 *
 * @module
 */

import { cpuUsage } from "node:process";
import { realFiles } from "../files/real.ts";
import { makeSegments, segmentPaths } from "../volume/journal/files.ts";
import { BLOCK, newJournal, openJournalEngine, SEGMENT, SIZE } from "./journal_engine.ts";
import { formatSpread, formatTable, pairwiseRatios, spread } from "./table.ts";
import { run } from "./process.ts";
import { BenchHost, type WriteLoad } from "./volume_host.ts";

const MIB = 1 << 20;
/** Bytes of the writes that measure the journal's overhead. */
const LARGE = 128 << 10;

/** The amount of work to measure. */
export interface VolumePlan {
  /** Samples of each measure. */
  readonly rounds: number;
  /** Writes per sample. */
  readonly writes: number;
  /** Segments of the journal, which holds all of a sample. */
  readonly segments: number;
}

interface Sample {
  /** Writes per second. */
  readonly rate: number;
  /** CPU per write in µs. */
  readonly cpuUs: number;
  /** Bytes of the journal per byte of data. */
  readonly logBytes?: number;
}

/** The writes of a run, and the files of its journal. */
type OurLoad = Pick<WriteLoad, "bytes" | "writes" | "flushEvery"> & { readonly segments: number };

/** One run of the engine over a journal that was written through before. */
function ours(folder: string, { segments, ...load }: OurLoad): Sample {
  using opened = openJournalEngine(folder, newJournal(segments));
  const { engine } = opened;
  using host = new BenchHost(engine, 64, load.bytes);
  const before = cpuUsage();
  const seconds = host.run({ ...load, depth: 32, size: SIZE });
  const { user, system } = cpuUsage(before);
  return {
    rate: load.writes / seconds,
    cpuUs: (user + system) / load.writes,
    logBytes: engine.completedPosition / (load.writes * load.bytes),
  };
}

/** One run of fio with the same file size. */
async function fio(path: string, words: readonly string[], writesPerIo: number): Promise<Sample> {
  const out = await run("fio", [
    ...["--name=bench", `--filename=${path}`, `--size=${SIZE}`, "--direct=1", "--thread"],
    ...["--ioengine=io_uring", "--norandommap", "--randrepeat=1", "--output-format=json", ...words],
  ]);
  const { jobs: [job] } = JSON.parse(out.slice(out.indexOf("{\n")));
  const { total_ios, runtime } = job.write;
  const writes = total_ios * writesPerIo;
  const cpuMs = (job.usr_cpu + job.sys_cpu) / 100 * job.job_runtime;
  return { rate: writes * 1000 / runtime, cpuUs: cpuMs * 1000 / writes };
}

/** Measures, and makes the table. The folder is on the disk to measure. */
export async function volumeTable(plan: VolumePlan, folder: string): Promise<string> {
  const { rounds, writes, segments } = plan;
  const path = `${folder}/in-place`;
  makeSegments(realFiles, folder, segments, SEGMENT);
  // A file of which no extent is fresh, and a journal that has been used before.
  await run("dd", ["if=/dev/zero", `of=${path}`, "bs=1M", `count=${SIZE / MIB}`, "conv=fsync"]);
  for (const segment of segmentPaths(realFiles, folder)) {
    const args = [`of=${segment}`, "bs=1M", `count=${SEGMENT / MIB}`, "conv=fsync,notrunc"];
    await run("dd", ["if=/dev/zero", ...args]);
  }
  const flushed = Math.floor(writes / 16) * 16;
  const cases = [
    {
      name: "random 4 KiB writes, depth 32",
      against: "fio, in place, O_DIRECT",
      goal: "≥ 1.2 × rate, ≤ 0.7 × CPU",
      ours: () => ours(folder, { bytes: BLOCK, writes, flushEvery: 0, segments }),
      theirs: () =>
        fio(path, ["--rw=randwrite", "--bs=4k", "--iodepth=32", `--number_ios=${writes}`], 1),
    },
    {
      name: "the same with a FLUSH every 16",
      against: "fio, a log of 68 KiB and fdatasync",
      goal: "≥ 0.8 × rate",
      ours: () => ours(folder, { bytes: BLOCK, writes: flushed, flushEvery: 16, segments }),
      theirs: () =>
        fio(path, ["--rw=write", "--bs=68k", "--fdatasync=1", `--number_ios=${flushed / 16}`], 16),
    },
  ];
  const rows: string[][] = [];
  for (const { name, against, goal, ...sides } of cases) {
    const mine: Sample[] = [];
    const others: Sample[] = [];
    sides.ours();
    for (let round = 0; round < rounds; round++) {
      mine.push(sides.ours());
      others.push(await sides.theirs());
    }
    const ratio = (field: "rate" | "cpuUs") =>
      formatSpread(
        spread(
          pairwiseRatios(mine.map((one) => one[field]), others.map((one) => one[field])),
        ),
      );
    rows.push([
      ...[name, against, goal, ratio("rate"), ratio("cpuUs")],
      formatSpread(spread(mine.map(({ cpuUs }) => cpuUs))),
      formatSpread(spread(mine.map(({ logBytes }) => logBytes!)), 3),
    ]);
  }
  const large = ours(folder, {
    ...{ bytes: LARGE, writes: Math.floor(writes * BLOCK / LARGE), flushEvery: 0, segments },
  });
  rows.push([
    ...["random 128 KiB writes, depth 32", "", "≤ 1.03 log bytes per byte", "", ""],
    ...[large.cpuUs.toFixed(2), large.logBytes!.toFixed(3)],
  ]);
  const header = ["ours", "against", "goal", "rate", "CPU", "µs per write", "log bytes per byte"];
  return formatTable(header, rows);
}
