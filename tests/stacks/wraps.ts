/**
 * Every wrapper in its variants, for stacks drawn from seeds.
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

/** A stack that is built from the inside out. */
export interface PartialStack {
  readonly spec: BackendSpec;
  /** The start of the outer disk, in sectors of the innermost one. */
  readonly start: number;
  /** The overlay files of the stack. */
  readonly overlays: readonly string[];
}

/** A wrapper, and its properties that the test must know. */
interface Wrap {
  readonly apply: (layers: PartialStack, folder: string, disk: Adversary) => PartialStack;
  /** Answered writes may be lost when the server dies. */
  readonly volatile?: true;
  /** The wrapper itself fails requests. */
  readonly fails?: true;
  /** Sectors of a block that is read from the inner disk when a part of it is written. */
  readonly copies?: number;
}

const around = (wrap: (inner: BackendSpec) => BackendSpec): Pick<Wrap, "apply"> => ({
  apply: (layers) => ({ ...layers, spec: wrap(layers.spec) }),
});

function cowOf(block: number): Wrap {
  return {
    apply: ({ spec, start, overlays }, folder) => {
      const file = `${folder}/over${overlays.length}`;
      return { spec: cow(spec, { file, block }), start, overlays: [...overlays, file] };
    },
    copies: block / SECTOR_BYTES,
  };
}

const PARTITION_START = 9 * 8;

/** Writes an MBR at `start`, with one partition from `PARTITION_START` to the end of the disk. */
function writeTable(disk: Adversary, start: number, sectors: number): void {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[446 + 4] = 0x83;
  view.setUint32(446 + 8, PARTITION_START, true);
  view.setUint32(446 + 12, sectors - start - PARTITION_START, true);
  view.setUint16(510, 0xaa55, true);
  disk.put(bytes, start);
}

/** The wrappers, by name. */
export const WRAPS: Readonly<Record<string, Wrap>> = {
  readonly: around(readonly),
  offset: {
    apply: ({ spec, start, overlays }) => ({
      spec: offset(spec, { start: 3 * 4096 }),
      start: start + 3 * 8,
      overlays,
    }),
  },
  partition: {
    apply: ({ spec, start, overlays }, _folder, disk) => {
      writeTable(disk, start, disk.sectors);
      return { spec: partition(spec, { number: 1 }), start: start + PARTITION_START, overlays };
    },
  },
  cow: cowOf(16384),
  "cow in small blocks": cowOf(4096),
  "cache write-through": around((inner) => cache(inner, { size: 8 * 4096 })),
  "cache write-back": { ...around((inner) => cache(inner, writeBack(6, 4096))), volatile: true },
  "cache of two blocks": { ...around((inner) => cache(inner, writeBack(2, 4096))), volatile: true },
  "cache of one block": { ...around((inner) => cache(inner, writeBack(1, 4096))), volatile: true },
  "cache of large blocks": {
    ...around((inner) => cache(inner, writeBack(3, 8192))),
    volatile: true,
  },
  "cache with room": { ...around((inner) => cache(inner, writeBack(100, 4096))), volatile: true },
  rate: around((inner) => rate(inner, { bytes: "1MiB", iops: 100, burst: 0 })),
  delay: around((inner) => delay(inner, { read: 1, write: 2, trim: 1 })),
  error: {
    ...around((inner) => error(inner, { rate: 0.05, ops: ["read", "write"] })),
    fails: true,
  },
  stats: {
    apply: (layers, folder) => ({
      ...layers,
      spec: stats(layers.spec, { file: `${folder}/stats` }),
    }),
  },
  log: {
    apply: (layers, folder) => ({ ...layers, spec: log(layers.spec, { file: `${folder}/log` }) }),
  },
};

function writeBack(blocks: number, block: number) {
  return { size: blocks * block, block, mode: "write-back" } as const;
}

/** All stacks: no wrapper, each alone, and each around each; outermost first. */
export const STACKS: readonly (readonly string[])[] = [
  [],
  ...Object.keys(WRAPS).map((name) => [name]),
  ...Object.keys(WRAPS).flatMap((outer) => Object.keys(WRAPS).map((inner) => [outer, inner])),
];
