/**
 * Measures a volume's engine on this machine's disk, beside fio on the same filesystem: without ublk,
 * in turns, as ratios.
 *
 * @module
 */

import { cpuUsage } from "node:process";
import { engineMemory } from "../disk/engine_memory.ts";
import { type RealFile, realFiles } from "../files/real.ts";
import { fail } from "../uapi/error.ts";
import { attachEngine } from "../volume/attach.ts";
import { ENGINE_SIZES } from "../volume/sizes.ts";
import type { Drain } from "../volume/engine.ts";
import { makeSegments, openSegments, segmentPaths } from "../volume/journal/files.ts";
import { Maps } from "../volume/maps.ts";
import { FileChunks } from "../volume/read/file_chunks.ts";
import { formatSpread, formatTable, pairwiseRatios, spread } from "./table.ts";
import { run } from "./process.ts";
import { BenchHost, type WriteLoad } from "./volume_host.ts";

const MIB = 1 << 20;
const BLOCK = 4096;
const SEGMENT = 64 * MIB;
const SIZE = 1024 * MIB;

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

/** Nothing is drained: the journal holds all of it. */
const NO_DRAIN: Drain = {
  published() {},
  hurry() {},
  commit: () => undefined,
  taken() {},
};

/** One run of the engine over a journal that was written through before. */
function ours(folder: string, { writes, segments }: VolumePlan, flushEvery: number): Sample {
  const identity = {
    ...{ volume: "11".repeat(16), journal: crypto.randomUUID().replaceAll("-", "") },
    ...{ size: SEGMENT, files: segments, blockSize: BLOCK },
  };
  const journal = openSegments(realFiles, segmentPaths(realFiles, folder));
  const memories: Disposable[] = [];
  const { engine } = attachEngine({
    ...{ identity, journal, epoch: 1, drain: NO_DRAIN, sizes: ENGINE_SIZES },
    fdOf: (file) => (file as RealFile).fd,
    allocate: (bytes) => {
      const memory = engineMemory(bytes);
      memories.push(memory);
      return memory;
    },
    maps: new Maps(SIZE / BLOCK, BLOCK),
    from: { position: 0, sequence: 0, chain: 0, written: 0 },
    chunks: new FileChunks((chunk) => fail(`chunk ${chunk} is not there`), 1, BLOCK),
    failsWhenFull: false,
    words: "the journal",
    report: (words) => console.error(words),
  });
  const load: WriteLoad = { depth: 32, bytes: BLOCK, writes, flushEvery, size: SIZE };
  using host = new BenchHost(engine, 64, BLOCK);
  const before = cpuUsage();
  const seconds = host.run(load);
  const { user, system } = cpuUsage(before);
  const position = engine.completedPosition;
  for (const file of journal) file.close();
  return {
    rate: writes / seconds,
    cpuUs: (user + system) / writes,
    logBytes: position / (writes * BLOCK),
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
      ours: () => ours(folder, plan, 0),
      theirs: () =>
        fio(path, ["--rw=randwrite", "--bs=4k", "--iodepth=32", `--number_ios=${writes}`], 1),
    },
    {
      name: "the same with a FLUSH every 16",
      against: "fio, a log of 68 KiB and fdatasync",
      goal: "≥ 0.8 × rate",
      ours: () => ours(folder, { ...plan, writes: flushed }, 16),
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
  const header = ["ours", "against", "goal", "rate", "CPU", "µs per write", "log bytes per byte"];
  return formatTable(header, rows);
}
