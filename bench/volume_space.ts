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
/** Parts of the overwriting, after each of which the store is looked at. */
const PARTS = 40;

/** A volume that was overwritten. */
export interface Overwritten {
  /** Bytes put into the store per byte of data. */
  readonly amplification: number;
  /** The part of the bytes of chunks that only moved data. */
  readonly moved: number;
  /** Most bytes of chunks in the store per byte that is live, while it was written to. */
  readonly most: number;
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
  let counted: readonly number[];
  {
    await using served = await serveVolume(opened, BLOCK);
    const count = Math.floor(size / BLOCK * times / PARTS);
    for (let part = 0; part < PARTS; part++) {
      served.host.run({ depth: DEPTH, bytes: BLOCK, size, count, seed: part });
      most = Math.max(most, await stored() / size);
    }
    counted = ["storeAmplification", "movedBytes", "chunkWrittenBytes"].map(served.counter);
  }
  const [amplification, movedBytes, chunkBytes] = counted;
  const { seconds } = await timed(async () => void await collectVolume(store, place.name));
  const { storedBytes, mappedBytes = NaN } = await volumeInfo(store, place.name);
  return {
    ...{ amplification, most, after: storedBytes / mappedBytes, collectSeconds: seconds },
    moved: movedBytes / chunkBytes,
  };
}
