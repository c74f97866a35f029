/**
 * Measures how long volumes take to open: with many extents in the store, and with a full journal.
 *
 * @module
 */

import { cpuUsage } from "node:process";
import { realFiles } from "../files/real.ts";
import type { Store } from "../store/store.ts";
import { briefClaim, Committed } from "../volume/committed.ts";
import { createVolume } from "../volume/create.ts";
import { levelOf } from "../volume/drain/merge.ts";
import { placeOf } from "../volume/format/place.ts";
import { encodeRun, Extents } from "../volume/format/run.ts";
import { makeSegments, segmentPaths } from "../volume/journal/files.ts";
import { MACHINE } from "../volume/seam.ts";
import { Volume } from "../volume/volume.ts";
import { BLOCK, newJournal, openJournalEngine, SEGMENT, SIZE } from "./journal_engine.ts";
import { run } from "./process.ts";
import { BenchHost } from "./volume_host.ts";

/** Blocks of a volume of 1 TiB. */
const BLOCKS = 2 ** 28;
const CHUNK_BYTES = 4 << 20;

/** Wall-clock time and CPU time in seconds. */
export interface Duration {
  /** On the clock. */
  readonly seconds: number;
  /** Of this process. */
  readonly cpu: number;
}

/** The time that some work takes. */
export async function timed(work: () => void | Promise<void>): Promise<Duration> {
  const start = performance.now();
  const before = cpuUsage();
  await work();
  const { user, system } = cpuUsage(before);
  return { seconds: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
}

/** Creates a volume whose block map has so many extents of one block, all over 1 TiB. */
export async function makeLargeVolume(store: Store, name: string, extents: number): Promise<void> {
  const shape = { size: BLOCKS * BLOCK, blockSize: BLOCK, chunkSize: CHUNK_BYTES };
  const head = await createVolume(store, name, shape, MACHINE);
  const claim = briefClaim(MACHINE, "bench");
  const committed = await Committed.claim(store, name, claim, () => "22".repeat(16));
  const list = new Extents(extents);
  const distance = Math.floor(BLOCKS / extents);
  let state = 12345;
  for (let nth = 0; nth < extents; nth++) {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    // An odd factor makes a permutation: neighbours lie in different chunks.
    const place = Math.imul(nth, 0x9e3779b1) >>> 0;
    list.push(nth * distance + state % (distance - 1), 1, placeOf(place >>> 10, place & 1023));
  }
  const { bytes, sum } = encodeRun(head.volume, 1, list);
  await store.putIfAbsent(committed.names.run(1), bytes);
  const entry = { number: 1, entries: extents, level: levelOf(extents), bytes: bytes.length, sum };
  await committed.commit({ runs: [entry], nextRun: 2, nextChunk: 2 ** 22 });
  await committed.release();
}

/** Opens a volume, and closes it. */
export async function openLargeVolume(store: Store, name: string): Promise<Duration> {
  let volume: Volume;
  const duration = await timed(async () => {
    volume = await Volume.open(name, { store, readOnly: true });
  });
  await volume!.close();
  return duration;
}

/** A replay of a full journal, and the seconds that dd takes to read it. */
export interface Replay {
  /** Ours. */
  readonly ours: Duration;
  /** dd's. */
  readonly dd: number;
}

/** Fills a journal with random writes of one block, and opens it several times. */
export async function measureReplays(
  folder: string,
  rounds: number,
  segments: number,
): Promise<Replay[]> {
  await Deno.mkdir(folder);
  makeSegments(realFiles, folder, segments, SEGMENT);
  const identity = newJournal(segments);
  const paths = segmentPaths(realFiles, folder);
  {
    using opened = openJournalEngine(folder, identity);
    using host = new BenchHost(opened.engine, 64, BLOCK);
    // 32 writes and their header are 33 blocks; the last segment may stay half empty.
    const writes = Math.floor((segments - 0.5) * SEGMENT / BLOCK * 32 / 33);
    host.run({ depth: 32, bytes: BLOCK, count: writes, size: SIZE });
  }
  const replays: Replay[] = [];
  for (let round = 0; round < rounds; round++) {
    const ours = await timed(() => {
      // It drops the page cache first.
      using opened = openJournalEngine(folder, identity);
      if (opened.batches === 0) throw new Error("the journal was empty");
    });
    replays.push({ ours, dd: await readWithDd(paths) });
  }
  return replays;
}

/** The seconds that dd takes to read files that are not in the page cache. */
export async function readWithDd(paths: readonly string[]): Promise<number> {
  let seconds = 0;
  for (const path of paths) {
    {
      using file = realFiles.open(path);
      file.dropCache();
    }
    // Its own clock: to start it takes longer than to read a small file.
    const script = 'LC_ALL=C exec dd "if=$0" of=/dev/null bs=1M 2>&1';
    const out = await run("sh", ["-c", script, path]);
    const [, took] = /copied, ([0-9.e+-]+) s/.exec(out) ?? [];
    seconds += Number(took);
  }
  return seconds;
}
