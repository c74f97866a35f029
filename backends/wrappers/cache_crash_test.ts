/**
 * Caches over a file. At any operation on the file, drawn from seeds, the server is killed, the
 * machine loses power, or the operation fails (`tests/crashes/`).
 *
 * `-- --seed 7` replays a seed, and `-- --seeds 20000` tries many.
 *
 * @module
 */

import { makePortFile, portFileDisk } from "../../tests/backends/port_file.ts";
import type { CrashedDisk } from "../../tests/crashes/life.ts";
import { initialBytes, liveSeeds } from "../../tests/crashes/seeds.ts";
import { cache, type CacheOptions, open } from "./cache.ts";

/** The size of the disk, so that the last block of a cache is not whole. */
const SECTORS = 6 * 8 + 3;
const PATH = "/disk";

/** Caches for all of the disk, a part of it, and almost none. */
const SHAPES: readonly CacheOptions[] = [
  { size: 100 * 4096 },
  { size: 4 * 4096 },
  { size: 4096 },
  { size: 3 * 8192, block: 8192 },
];

function cached(seed: number, mode: "write-back" | "write-through"): CrashedDisk {
  const shape = SHAPES[seed % SHAPES.length];
  const { options } = cache({ module: "" }, { ...shape, mode });
  // The kernel's files report a failure only once: a write-back cache must make up for that.
  const manner = { fua: seed % 3 > 0, forgets: mode === "write-back" };
  return {
    sectors: SECTORS,
    allocates: seed % 5 > 0,
    isVolatile: mode === "write-back",
    knowsLoss: false,
    failureIsFinal: mode === "write-through",
    closeFlushes: mode === "write-back",
    failsAtOnce: mode === "write-through",
    make: (files) => makePortFile(files, PATH, initialBytes(SECTORS)),
    open: (files) => open(options, { inner: [portFileDisk(files, PATH, manner)] }),
  };
}

for (const mode of ["write-back", "write-through"] as const) {
  Deno.test(`cache ${mode} keeps what it promised, through every crash and failure`, async (t) => {
    await liveSeeds(t, (seed) => cached(seed, mode));
  });
}
