/**
 * The table of a volume's store and journal: how long it takes to open, and what it writes besides
 * data.
 *
 * @module
 */

import { openStore } from "../store/open.ts";
import { KEY_BYTES } from "../volume/seal/gcm.ts";
import { formatSpread, formatTable, spread } from "./table.ts";
import { measureCommits, measureSequential } from "./volume_bytes.ts";
import { makeLargeVolume, measureReplays, openLargeVolume } from "./volume_open.ts";

const MIB = 1 << 20;

/** The amount of work to measure. */
export interface RowsPlan {
  /** Samples of each measure. */
  readonly rounds: number;
  /** Numbers of extents of the volumes that are opened, and the most seconds that may take. */
  readonly opens: readonly (readonly [extents: number, seconds: number])[];
  /** Commits of 64 MiB into the volume with the most extents. */
  readonly commits: number;
  /** MiB that are written and read in sequence. */
  readonly mebibytes: number;
  /** Segments of the journal that is replayed. */
  readonly segments: number;
}

/** Measures, and makes the table. The folder is on the disk to measure. */
export async function rowsTable(plan: RowsPlan, folder: string): Promise<string> {
  const { rounds, opens, commits, mebibytes, segments } = plan;
  const rows: string[][] = [];
  const row = (measure: string, goal: string, figure: string, note = "") =>
    rows.push([measure, goal, figure, note]);
  const nameOf = (extents: number) => `e${extents}`;
  {
    await using store = await openStore(`${folder}/store`, { create: true });
    for (const [extents, most] of opens) {
      await makeLargeVolume(store, nameOf(extents), extents);
      const times = [];
      for (let round = 0; round < rounds; round++) {
        times.push(await openLargeVolume(store, nameOf(extents)));
      }
      const cpu = formatSpread(spread(times.map(({ cpu }) => cpu)));
      const words = `open with ${extents / 1e6} million extents`;
      const seconds = formatSpread(spread(times.map(({ seconds }) => seconds)));
      row(words, `≤ ${most} s`, `${seconds} s`, `CPU ${cpu} s`);
    }
  }
  const replays = await measureReplays(`${folder}/full`, rounds, segments);
  row(
    "replay of a full journal : dd of it, cold",
    "≥ 0.5",
    formatSpread(spread(replays.map(({ ours, dd }) => dd / ours.seconds))),
    `CPU ${formatSpread(spread(replays.map(({ ours }) => ours.cpu)))} s, ` +
      `dd ${formatSpread(spread(replays.map(({ dd }) => dd)))} s`,
  );
  for (const [extents] of opens) {
    const { chunks, rest } = await measureCommits(folder, nameOf(extents), commits);
    row(
      `bytes besides chunks per 64 MiB of random 4 KiB, ${extents / 1e6} million extents`,
      "≤ 3 MiB",
      `${(rest / MIB).toFixed(2)} MiB`,
      `chunks ${(chunks / (64 * MIB)).toFixed(4)} per byte of data`,
    );
  }
  const plain = await measureSequential(folder, mebibytes, rounds);
  const { storeBytes, ratios } = plain;
  row("store bytes per byte written in sequence", "≤ 1.01", storeBytes.toFixed(4));
  row("cold sequential read : dd of the chunks, cold", "≥ 0.7", formatSpread(spread(ratios)));
  const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const sealed = await measureSequential(folder, mebibytes, rounds, { key });
  row("the same bytes, encrypted", "≤ 1.02", sealed.storeBytes.toFixed(4));
  row("the same read, encrypted", "≥ 0.47", formatSpread(spread(sealed.ratios)));
  for (const [words, kept] of [["", {}], [" and encrypted", { key }]] as const) {
    const packed = await measureSequential(folder, mebibytes, rounds, {
      ...kept,
      compress: "zstd",
    });
    // Half of what is written is random.
    row(`the same bytes, compressed${words}`, "≤ 0.56", packed.storeBytes.toFixed(4));
    row(
      `sequential write to the store, compressed${words}, MiB/s`,
      "",
      packed.writeRate.toFixed(0),
      `${plain.writeRate.toFixed(0)} plain, ${sealed.writeRate.toFixed(0)} encrypted`,
    );
    row(
      `cold sequential read, compressed${words}, MiB/s`,
      "",
      formatSpread(spread(packed.rates)),
      `${formatSpread(spread(plain.rates))} plain, ${formatSpread(spread(sealed.rates))} encrypted`,
    );
  }
  return formatTable(["measure", "goal", "median (min–max)", "beside"], rows);
}
