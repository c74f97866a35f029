/**
 * Lives of disks, one for each seed.
 *
 * @module
 */

import { SECTOR_BYTES } from "../fake_request.ts";
import { eachSeed, type SeededTest } from "../seeds.ts";
import { initialId } from "../stacks/adversary.ts";
import { contentOf } from "../stacks/history.ts";
import { type CrashedDisk, live } from "./life.ts";

/** Seeds of an ordinary run. */
const SEEDS = 1000;

/** What a disk of so many sectors has at first: by the number of the write that each is of. */
export function initialIds(sectors: number): number[] {
  return Array.from({ length: sectors }, (_, sector) => initialId(sector));
}

/** The same as bytes. */
export function initialBytes(sectors: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sectors * SECTOR_BYTES);
  for (const [sector, id] of initialIds(sectors).entries()) {
    bytes.set(contentOf(id), sector * SECTOR_BYTES);
  }
  return bytes;
}

/** Lives each seed's lives of its disk. */
export async function liveSeeds(
  test: SeededTest,
  diskOf: (seed: number) => CrashedDisk,
): Promise<void> {
  await eachSeed(test, SEEDS, async (seed) => {
    const disk = diskOf(seed);
    await live(seed, disk, initialIds(disk.sectors));
  });
}
