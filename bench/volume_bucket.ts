/**
 * Measures a volume whose store is a bucket against what the bucket itself can do.
 *
 * @module
 */

import { openStore } from "../store/open.ts";
import { Volume } from "../volume/volume.ts";
import { curlGets, curlPuts } from "./bucket.ts";
import { pairwiseRatios } from "./table.ts";
import { timed } from "./volume_open.ts";
import { serveVolume } from "./volume_served.ts";

const MIB = 1 << 20;
const BLOCK = 4096;
/** Of a fetching thread. */
const GETS = 16;
/** Of a drain. */
const PUTS = 4;
const CHUNK = 4 * MIB;

/** A volume beside its bucket. */
export interface BesideBucket {
  /** Rates of cold sequential reads, to those of curl's GETs. */
  readonly reads: readonly number[];
  /** Rates of random writes times their amplification, to those of curl's PUTs. */
  readonly writes: readonly number[];
  /** Bytes put into the store per byte of data, of those writes. */
  readonly amplification: readonly number[];
}

/** Writes a volume in a bucket at random places until the bucket has all of it, and reads it cold. */
export async function measureBucket(
  url: string,
  folder: string,
  mebibytes: number,
  rounds: number,
): Promise<BesideBucket> {
  await using store = await openStore(url);
  const place = { name: "bucket", store: url, journal: `${folder}/bucket-journals` };
  const size = mebibytes * MIB;
  await Volume.create(place.name, { store, size });
  const opened = { ...place, journalBytes: 128 * MIB };
  // Every block is there, and each chunk has its neighbours on the disk.
  await filled(opened, mebibytes, size);
  const names: string[] = [];
  let bytes = 0;
  for await (const { name, size } of store.list(`${place.name}/chunks/`)) {
    names.push(name);
    bytes += size;
  }
  const [reads, gets]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    await using served = await serveVolume(opened, MIB, true);
    reads.push(
      size / served.host.run({
        ...{ kind: "read", depth: 4, bytes: MIB, size, count: mebibytes, isSequential: true },
      }),
    );
    gets.push(await curlGets(url, names, bytes, GETS));
  }
  const [writes, puts, amplification]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    // As often as the volume is large: the journal is full for most of the time.
    const { seconds, times } = await overwritten(opened, size, round);
    amplification.push(times);
    writes.push(size * times / seconds);
    const count = Math.ceil(size / CHUNK);
    puts.push(await curlPuts(store, url, folder, { count, bytes: CHUNK, connections: PUTS }));
  }
  return {
    reads: pairwiseRatios(reads, gets),
    writes: pairwiseRatios(writes, puts),
    amplification,
  };
}

type Place = Parameters<typeof serveVolume>[0];

async function filled(place: Place, mebibytes: number, size: number): Promise<void> {
  await using served = await serveVolume(place, MIB);
  served.host.run({ depth: 4, bytes: MIB, size, count: mebibytes, isSequential: true });
}

/** Writes as much as the volume has, at random places. It is over once the store has it. */
async function overwritten(
  place: Place,
  size: number,
  seed: number,
): Promise<{ readonly seconds: number; readonly times: number }> {
  const served = await serveVolume(place, BLOCK);
  const load = { depth: 32, bytes: BLOCK, size, count: size / BLOCK, seed };
  const { seconds } = await timed(async () => {
    served.host.run(load);
    await served[Symbol.asyncDispose]();
  });
  // Counters stay where they are.
  return { seconds, times: served.counter("storeAmplification") };
}
