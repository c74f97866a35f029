/**
 * Measures how much a store grows, and how much is written to it, while a volume is overwritten at
 * random places.
 *
 * @module
 */

import { openStore } from "../store/open.ts";
import { collectVolume } from "../volume/space/collect_volume.ts";
import { volumeInfo } from "../volume/list.ts";
import { Volume } from "../volume/volume.ts";
import { timed } from "./volume_open.ts";
import { serveVolume } from "./volume_served.ts";

const MIB = 1 << 20;
const BLOCK = 4096;
const DEPTH = 32;
/** The overwriting has so many parts; the store is measured after each. */
const PARTS = 40;
/** Bytes in the store per byte that is live, which the collector is to reach by itself. */
const GOAL = 1.6;
/** How long it is waited for that, in seconds, and how often is looked, in ms. */
const PATIENCE_SECONDS = 120;
const LOOK_MS = 200;

/** A volume that was overwritten. */
export interface Overwritten {
  /** Bytes put into the store per byte of data. */
  readonly amplification: number;
  /** The part of the bytes of chunks that only moved data. */
  readonly moved: number;
  /** Most bytes of chunks in the store per byte that is live, while it was written to. */
  readonly most: number;
  /** Seconds from the last of that writing on until it was at most 1.6; undefined if it never was. */
  readonly settledSeconds: number | undefined;
  /** The same after a collection, once it was detached. */
  readonly after: number;
  /** How long that collection took, in seconds. */
  readonly collectSeconds: number;
}

/** Fills a volume, and overwrites so many times its size at random places. */
export async function measureOverwrites(
  folder: string,
  mebibytes: number,
  times: number,
): Promise<Overwritten> {
  const size = mebibytes * MIB;
  const place = { name: "overwritten", store: `${folder}/store`, journal: `${folder}/journals` };
  await using store = await openStore(place.store, { create: true });
  await Volume.create(place.name, { store, size });
  const stored = async () => {
    let bytes = 0;
    for await (const { size } of store.list(`${place.name}/chunks/`)) bytes += size;
    return bytes;
  };
  const opened = { ...place, journalBytes: 64 * MIB };
  {
    await using served = await serveVolume(opened, MIB);
    served.host.run({ depth: 4, bytes: MIB, size, count: mebibytes, isSequential: true });
  }
  let most = 0;
  let settledSeconds: number | undefined = undefined;
  let counted: readonly number[];
  {
    await using served = await serveVolume(opened, BLOCK);
    const count = Math.floor(size / BLOCK * times / PARTS);
    for (let part = 0; part < PARTS; part++) {
      served.host.run({ depth: DEPTH, bytes: BLOCK, size, count, seed: part });
      most = Math.max(most, await stored() / size);
    }
    const start = performance.now();
    for (let seconds = 0; seconds < PATIENCE_SECONDS && settledSeconds === undefined;) {
      // An idle engine is woken for each commit; here a write does that.
      served.host.run({ depth: 1, bytes: BLOCK, size, count: 1 });
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      seconds = (performance.now() - start) / 1000;
      if (await stored() / size <= GOAL) settledSeconds = seconds;
    }
    counted = ["storeAmplification", "movedBytes", "chunkWrittenBytes"].map(served.counter);
  }
  const [amplification, movedBytes, chunkBytes] = counted;
  const { seconds } = await timed(async () => void await collectVolume(store, place.name));
  const { storedBytes, mappedBytes = NaN } = await volumeInfo(store, place.name);
  return {
    ...{
      amplification,
      most,
      settledSeconds,
      after: storedBytes / mappedBytes,
      collectSeconds: seconds,
    },
    moved: movedBytes / chunkBytes,
  };
}
