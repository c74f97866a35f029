/**
 * Lives of disks for each seed, and what failed of them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { SECTOR_BYTES } from "../fake_request.ts";
import { replayOf, seedsOf } from "../seeds.ts";
import { initialId } from "../stacks/adversary.ts";
import { contentOf } from "../stacks/history.ts";
import { type CrashedDisk, live } from "./life.ts";

/** Seeds of an ordinary run. */
const SEEDS = 1000;
/** Failures that are told in full. */
const TOLD = 4;

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

/** Lives each seed's lives of the disk that it has. `file` is the test that asks. */
export async function liveSeeds(file: string, diskOf: (seed: number) => CrashedDisk) {
  const { first, last } = seedsOf(SEEDS);
  let failed = 0;
  for (let seed = first; seed <= last; seed++) {
    const disk = diskOf(seed);
    try {
      await live(seed, disk, initialIds(disk.sectors));
    } catch (error) {
      if (++failed > TOLD) continue;
      console.error(`${(error as Error).message}\n${replayOf(seed, file)}`);
    }
  }
  assertEquals(failed, 0, `${failed} of ${last - first + 1} seeds`);
}
