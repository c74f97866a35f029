/**
 * Measures the ring alone, on this machine's kernel: the cost of a NOP by the number of NOPs submitted
 * and reaped per system call. Needs no ublk.
 *
 * @module
 */

import { openRing } from "../uring/open_ring.ts";
import type { Ring } from "../uring/ring.ts";
import { prepNop } from "../uring/sqe.ts";
import { formatSpread, formatTable, spread } from "./table.ts";

/** The amount of work to measure. */
export interface RingPlan {
  /** Samples per batch size, taken in turn. */
  readonly rounds: number;
  /** NOPs per sample. */
  readonly nops: number;
}

/** NOPs per system call. */
export const BATCHES = [1, 32, 128] as const;

/** Measures nanoseconds per NOP: for each of {@linkcode BATCHES}, one sample per round. */
export function measureRing(plan: RingPlan): Map<number, number[]> {
  const { ring } = openRing({ entries: 128 });
  using _ring = ring;
  const samples = new Map<number, number[]>(BATCHES.map((batch) => [batch, []]));
  // The first round warms up the JIT compiler.
  for (let round = -1; round < plan.rounds; round++) {
    for (const batch of BATCHES) {
      const startMs = performance.now();
      const done = nops(ring, batch, plan.nops);
      const ns = (performance.now() - startMs) * 1e6 / done;
      if (round >= 0) samples.get(batch)!.push(ns);
    }
  }
  return samples;
}

/** Runs at least `count` NOPs, `batch` at a time. Returns their number. */
function nops(ring: Ring, batch: number, count: number): number {
  const cqes = ring.cqes;
  let done = 0;
  while (done < count) {
    for (let i = 0; i < batch; i++) prepNop(ring, i, 0);
    for (let reaped = 0; reaped < batch;) {
      ring.enter(batch - reaped);
      for (let at = ring.peek(); at >= 0; at = ring.peek()) {
        if (cqes[at + 2] !== 0) throw new Error(`a NOP failed: ${cqes[at + 2]}`);
        ring.seen();
        reaped++;
      }
    }
    done += batch;
  }
  return done;
}

/** The table of the samples of {@linkcode measureRing}. */
export function ringTable(samples: Map<number, number[]>): string {
  const rows = [...samples].map(([batch, ns]) => [
    String(batch),
    formatSpread(spread(ns), 0),
    String(ns.length),
  ]);
  return formatTable(["NOPs per system call", "ns per NOP, median (min–max)", "rounds"], rows);
}

/** The conditions on this machine. */
export async function hostConditions(): Promise<string[]> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  const model = cpuinfo.match(/^model name\s*: (.*)$/m)?.[1] ?? Deno.build.arch;
  const load = (await Deno.readTextFile("/proc/loadavg")).split(" ").slice(0, 3).join(" ");
  return [
    `${new Date().toISOString().slice(0, 10)}, Deno ${Deno.version.deno} (V8 ${Deno.version.v8})`,
    `Linux ${Deno.osRelease()}, ${navigator.hardwareConcurrency} × ${model}, load ${load}`,
  ];
}
