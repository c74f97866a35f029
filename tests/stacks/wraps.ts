/**
 * Every wrapper, in the ways that differ, for stacks drawn by seeds.
 *
 * @module
 */

import type { BackendSpec } from "../../disk/spec.ts";
import { cache } from "../../backends/wrappers/cache.ts";
import { cow } from "../../backends/wrappers/cow.ts";
import { delay } from "../../backends/wrappers/delay.ts";
import { error } from "../../backends/wrappers/error.ts";
import { log } from "../../backends/wrappers/log.ts";
import { offset } from "../../backends/wrappers/offset.ts";
import { partition } from "../../backends/wrappers/partition.ts";
import { rate } from "../../backends/wrappers/rate.ts";
import { readonly } from "../../backends/wrappers/readonly.ts";
import { stats } from "../../backends/wrappers/stats.ts";
import type { Adversary } from "./adversary.ts";
import { SECTOR_BYTES } from "../fake_request.ts";

/** What a stack is made of so far, from the inside. */
export interface Pile {
  readonly spec: BackendSpec;
  /** Where the disk begins, in sectors of the one inside. */
  readonly start: number;
  /** The overlays in it. */
  readonly overlays: readonly string[];
}

/** A wrapper, and what the test must know of it. */
interface Wrap {
  readonly put: (pile: Pile, folder: string, disk: Adversary) => Pile;
  /** What was answered may be gone with its server. */
  readonly volatile?: true;
  /** It fails requests by itself. */
  readonly fails?: true;
  /** Its writes of a part of a block need all of it from inside: sectors of such a block. */
  readonly copies?: number;
}

const around = (wrap: (inner: BackendSpec) => BackendSpec): Pick<Wrap, "put"> => ({
  put: (pile) => ({ ...pile, spec: wrap(pile.spec) }),
});

function cowOf(block: number): Wrap {
  return {
    put: ({ spec, start, overlays }, folder) => {
      const file = `${folder}/over${overlays.length}`;
      return { spec: cow(spec, { file, block }), start, overlays: [...overlays, file] };
    },
    copies: block / SECTOR_BYTES,
  };
}

const START = 9 * 8;

/** An MBR with one partition, all there is behind `START`, as the table of the disk at `start`. */
function table(disk: Adversary, start: number, sectors: number): void {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[446 + 4] = 0x83;
  view.setUint32(446 + 8, START, true);
  view.setUint32(446 + 12, sectors - start - START, true);
  view.setUint16(510, 0xaa55, true);
  disk.put(bytes, start);
}

/** By name. */
export const WRAPS: Readonly<Record<string, Wrap>> = {
  readonly: around(readonly),
  offset: {
    put: ({ spec, start, overlays }) => ({
      spec: offset(spec, { start: 3 * 4096 }),
      start: start + 3 * 8,
      overlays,
    }),
  },
  partition: {
    put: ({ spec, start, overlays }, _folder, disk) => {
      table(disk, start, disk.sectors);
      return { spec: partition(spec, { number: 1 }), start: start + START, overlays };
    },
  },
  cow: cowOf(16384),
  "cow in small blocks": cowOf(4096),
  "cache write-through": around((inner) => cache(inner, { size: 8 * 4096 })),
  "cache write-back": { ...around((inner) => cache(inner, backBy(6, 4096))), volatile: true },
  "cache of two blocks": { ...around((inner) => cache(inner, backBy(2, 4096))), volatile: true },
  "cache of one block": { ...around((inner) => cache(inner, backBy(1, 4096))), volatile: true },
  "cache of large blocks": { ...around((inner) => cache(inner, backBy(3, 8192))), volatile: true },
  "cache with room": { ...around((inner) => cache(inner, backBy(100, 4096))), volatile: true },
  rate: around((inner) => rate(inner, { bytes: "1MiB", iops: 100, burst: 0 })),
  delay: around((inner) => delay(inner, { read: 1, write: 2, trim: 1 })),
  error: {
    ...around((inner) => error(inner, { rate: 0.05, ops: ["read", "write"] })),
    fails: true,
  },
  stats: {
    put: (pile, folder) => ({ ...pile, spec: stats(pile.spec, { file: `${folder}/stats` }) }),
  },
  log: { put: (pile, folder) => ({ ...pile, spec: log(pile.spec, { file: `${folder}/log` }) }) },
};

function backBy(blocks: number, block: number) {
  return { size: blocks * block, block, mode: "write-back" } as const;
}

/** Stacks: none, each, and each around each; outermost first. */
export const STACKS: readonly (readonly string[])[] = [
  [],
  ...Object.keys(WRAPS).map((name) => [name]),
  ...Object.keys(WRAPS).flatMap((outer) => Object.keys(WRAPS).map((inner) => [outer, inner])),
];
