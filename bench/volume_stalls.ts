/**
 * Measures how long a snapshot takes under a steady load of writes, and the longest write meanwhile.
 *
 * @module
 */

import { openStore } from "../store/open.ts";
import type { SnapshotOrder } from "./snapshots_worker.ts";
import { makeLargeVolume } from "./volume_open.ts";
import { type Served, serveVolume } from "./volume_served.ts";

const BLOCK = 4096;
/** Writes at a time, and of one portion, of which one begins after each pause. */
const DEPTH = 32;
const PORTION = 256;
/** Slower than the drain, so that the journal never fills: 32 MiB/s. */
const PORTION_MS = 1000 / 32;
/** Portions before anything is measured, for the JIT compiler. */
const WARM_PORTIONS = 64;

/** The snapshots of a volume under load. */
export interface Stalls {
  /** How long each snapshot took, in ms. */
  readonly snapshotMs: readonly number[];
  /** The longest write while they were made, in ms. */
  readonly longestMs: number;
  /** The longest write in as long a time after them. */
  readonly longestOtherwiseMs: number;
}

/** Makes snapshots of a new volume with so many extents, which is written to at random places. */
export async function measureSnapshots(
  folder: string,
  extents: number,
  count: number,
): Promise<Stalls> {
  const name = `snapshots${extents}`;
  const place = { name, store: `${folder}/store`, journal: `${folder}/journals` };
  {
    await using store = await openStore(place.store, { create: true });
    await makeLargeVolume(store, name, extents);
  }
  await using served = await serveVolume({ ...place, journalBytes: 256 << 20 }, BLOCK);
  let portions = 0;
  writeUntil(served, () => ++portions === WARM_PORTIONS);
  using worker = await startWorker();
  const isOver = new Int32Array(new SharedArrayBuffer(4));
  const snapshotMs = worker.make({ ...place, count, isOver: isOver.buffer });
  const start = performance.now();
  const longestMs = writeUntil(served, () => Atomics.load(isOver, 0) === 1);
  const again = performance.now();
  const longestOtherwiseMs = writeUntil(served, () => performance.now() - again >= again - start);
  return { snapshotMs: await snapshotMs, longestMs, longestOtherwiseMs };
}

/** Writes portion by portion. @returns The longest write in ms. */
function writeUntil({ host, size }: Served, isOver: () => boolean): number {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  let longestUs = 0;
  do {
    const start = performance.now();
    host.run({ depth: DEPTH, bytes: BLOCK, size, count: PORTION, timesEach: true });
    longestUs = Math.max(longestUs, host.longestUs);
    Atomics.wait(clock, 0, 0, Math.max(0, PORTION_MS - (performance.now() - start)));
  } while (!isOver());
  return longestUs / 1000;
}

/** The thread that makes the snapshots, once its modules are loaded. */
async function startWorker() {
  const url = new URL("./snapshots_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  const next = () =>
    new Promise<number[]>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
    });
  await next();
  return {
    make(order: SnapshotOrder): Promise<number[]> {
      const made = next();
      worker.postMessage(order);
      return made;
    },
    [Symbol.dispose]: () => worker.terminate(),
  };
}
