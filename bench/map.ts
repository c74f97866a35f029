/**
 * Measures a volume's block map: CPU time per operation, and memory.
 *
 * @module
 */

import { cpuUsage } from "node:process";
import { libc } from "../uring/libc.ts";
import { BlockMap } from "../volume/map/block_map.ts";
import { formatSpread, formatTable, spread } from "./table.ts";

/** The amount of work to measure. */
export interface MapPlan {
  /** Samples of each measure. */
  readonly rounds: number;
  /** Sizes of maps in extents of one block. */
  readonly extents: readonly number[];
  /** Operations per sample. */
  readonly operations: number;
}

/** 1 TiB in blocks of 4 KiB. */
const DISK = 2 ** 28;
const BLOCKS_PER_MIB = 256;
const MIB = 1 << 20;

/** The measures, in the order of the table: each with its unit and its goal. */
const MEASURES: Record<string, readonly [unit: string, goal: number | undefined]> = {
  "random insert": ["µs", 0.5],
  "the same in a JavaScript Map": ["µs", undefined],
  "random lookup": ["µs", 0.5],
  "the same in a JavaScript Map ": ["µs", undefined],
  "memory per extent": ["bytes", 40],
  "most memory per extent while it filled": ["bytes", 40],
  "one random read of as much memory, in pages of 4 KiB": ["µs", undefined],
  "longest insert": ["ms", 1],
  "load": ["s", 2],
  "going over all extents": ["µs", undefined],
  "removal of all": ["s", undefined],
  "1 TiB in 1 MiB writes: memory": ["MB", 20],
  "1 TiB in 1 MiB writes: insert": ["µs", undefined],
  "1 TiB in 1 MiB writes, not aligned: memory": ["MB", 20],
  "trim of an empty TiB in 64 MiB: each": ["µs", undefined],
};

/** CPU time of a piece of work in µs. */
function cpuUs(work: () => void): number {
  const before = cpuUsage();
  work();
  const { user, system } = cpuUsage(before);
  return user + system;
}

/** Blocks in an order that looks random: the same for the map and for what it is compared with. */
class Blocks {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 4;
  }
}

/** A place like those in chunks: the number of the chunk above, the index in it below. */
function placeOf(nth: number): number {
  return Math.floor(nth / 1024) * 2 ** 17 + nth % 1024;
}

/** Takes a sample of a measure; a size is part of its name. */
type Note = (measure: string, value: number, extents?: number) => void;

/** Takes all samples. */
export function measureMap(plan: MapPlan): Map<string, number[]> {
  const samples = new Map<string, number[]>();
  const note: Note = (measure, value, extents) => {
    const name = extents === undefined ? measure : `${measure}@${extents}`;
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name)!.push(value);
  };
  // The first round warms up the JIT compiler.
  for (let round = -1; round < plan.rounds; round++) {
    const into: Note = round < 0 ? () => {} : note;
    const sizes = round < 0 ? plan.extents.slice(0, 1) : plan.extents;
    for (const extents of sizes) randomWrites(extents, plan.operations, round, into);
    pieces(into);
  }
  return samples;
}

function randomWrites(extents: number, operations: number, round: number, note: Note): void {
  const map = new BlockMap({ blocks: DISK, step: 1 });
  const blocks = new Blocks(round + 12345);
  let nth = 0;
  let most = 0;
  while (map.extents < extents) {
    for (let more = extents / 50; more > 0; more--) map.set(blocks.next(), 1, placeOf(nth++));
    if (map.extents * 10 > extents) most = Math.max(most, map.bytes / map.extents);
  }
  note("memory per extent", map.bytes / map.extents, extents);
  note("most memory per extent while it filled", most, extents);
  let us = cpuUs(() => {
    for (let more = operations; more > 0; more--) map.set(blocks.next(), 1, placeOf(nth++));
  });
  note("random insert", us / operations, extents);
  let sum = 0;
  us = cpuUs(() => {
    for (let more = operations; more > 0; more--) sum += map.find(blocks.next(), 1);
  });
  if (sum !== operations) throw new Error(`${sum} blocks were found`);
  note("random lookup", us / operations, extents);
  note("longest insert", longestMs(map, blocks, operations), extents);
  note(
    "one random read of as much memory, in pages of 4 KiB",
    randomReads(map.bytes, operations),
    extents,
  );
  const runs = runsOf(map, extents, note);
  note("removal of all", cpuUs(() => map.remove(0, DISK)) / 1e6, extents);
  if (map.extents !== 0) throw new Error("extents are left");
  note("load", cpuUs(() => map.loadSorted(runs)) / 1e6, extents);
  if (map.extents !== runs.length) throw new Error(`${map.extents} extents were loaded`);
  if (extents <= 1e6) inMap(extents, operations, round, note);
}

/** Of `clock_gettime`: the CPU time of the calling thread. */
const CLOCK_THREAD_CPUTIME_ID = 3;

/** The longest CPU time of one insert on its thread, in ms. */
function longestMs(map: BlockMap, blocks: Blocks, operations: number): number {
  const { clock_gettime } = libc();
  const bytes = new Uint8Array(16);
  // Seconds at word 0, nanoseconds at word 2.
  const words = new Int32Array(bytes.buffer);
  const now = () => {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, bytes);
    return words[0] * 1e6 + words[2] / 1000;
  };
  let longest = 0;
  for (let nth = 0; nth < operations; nth++) {
    const before = now();
    map.set(blocks.next(), 1, placeOf(nth));
    const us = now() - before;
    if (us > longest) longest = us;
  }
  return longest / 1000;
}

/** Reads of words here and there in so much memory, each of which needs the one before: µs each. */
function randomReads(bytes: number, operations: number): number {
  const pieces = Array.from(
    { length: Math.ceil(bytes / MIB) },
    () => new Int32Array(MIB / 4).fill(1),
  );
  const blocks = new Blocks(777);
  let last = 1;
  const us = cpuUs(() => {
    for (let more = operations; more > 0; more--) {
      const draw = blocks.next();
      last = pieces[(draw >>> 18) * last % pieces.length][(draw + last) & (MIB / 4 - 1)];
    }
  });
  if (last !== 1) throw new Error(`${last} was read`);
  return us / operations;
}

/** All extents of a map, from a cursor. */
function runsOf(map: BlockMap, extents: number, note: Note) {
  const length = map.extents;
  const blocks = new Float64Array(length);
  const counts = new Uint32Array(length);
  const places = new Float64Array(length);
  let nth = 0;
  const us = cpuUs(() => {
    for (const cursor = map.cursor(); cursor.next();) {
      blocks[nth] = cursor.block;
      counts[nth] = cursor.count;
      places[nth++] = cursor.place;
    }
  });
  note("going over all extents", us / length, extents);
  return { blocks, counts, places, length };
}

/** Random writes of the same blocks into a `Map`. */
function inMap(extents: number, operations: number, round: number, note: Note): void {
  const map = new Map<number, number>();
  const blocks = new Blocks(round + 12345);
  let nth = 0;
  while (map.size < extents) map.set(blocks.next(), placeOf(nth++));
  let us = cpuUs(() => {
    for (let more = operations; more > 0; more--) map.set(blocks.next(), placeOf(nth++));
  });
  note("the same in a JavaScript Map", us / operations, extents);
  let found = 0;
  us = cpuUs(() => {
    for (let more = operations; more > 0; more--) {
      if (map.get(blocks.next()) !== undefined) found++;
    }
  });
  if (found > operations) throw new Error("more is found than was looked for");
  note("the same in a JavaScript Map ", us / operations, extents);
}

/** Writes of 1 MiB, all over a disk of 1 TiB in random order, and its trim. */
function pieces(note: Note): void {
  const count = DISK / BLOCKS_PER_MIB;
  for (const shift of [0, 77]) {
    const map = new BlockMap({ blocks: DISK, step: 1 });
    const us = cpuUs(() => {
      for (let nth = 0; nth < count - 1; nth++) {
        // An odd factor makes a permutation.
        const piece = Math.imul(nth, 0x9e3779b1) & count - 1;
        const block = Math.min(piece * BLOCKS_PER_MIB + shift, DISK - BLOCKS_PER_MIB);
        map.set(block, BLOCKS_PER_MIB, placeOf(nth * BLOCKS_PER_MIB));
      }
    });
    const name = `1 TiB in 1 MiB writes${shift === 0 ? "" : ", not aligned"}`;
    note(`${name}: memory`, map.bytes / 1e6);
    if (shift === 0) note(`${name}: insert`, us / count);
  }
  const map = new BlockMap({ blocks: DISK, step: 1 });
  const trim = 64 * MIB / 4096;
  const us = cpuUs(() => {
    for (let block = 0; block < DISK; block += trim) map.remove(block, trim);
  });
  note("trim of an empty TiB in 64 MiB: each", us / (DISK / trim));
}

/** The table of the samples of {@linkcode measureMap}. */
export function mapTable(samples: Map<string, number[]>): string {
  const rows: string[][] = [];
  for (const [measure, [unit, goal]] of Object.entries(MEASURES)) {
    for (const [name, values] of samples) {
      const [base, extents] = name.split("@");
      if (base !== measure) continue;
      const digits = unit === "bytes" || unit === "MB" ? 1 : 3;
      const { median } = spread(values);
      rows.push([
        measure.trim(),
        extents === undefined ? "" : `10^${Math.round(Math.log10(Number(extents)))}`,
        `${formatSpread(spread(values), digits)} ${unit}`,
        goal === undefined ? "" : `≤ ${goal}${median <= goal ? "" : " (missed)"}`,
      ]);
    }
  }
  return formatTable(["measure", "extents", "median (min–max)", "goal"], rows);
}
