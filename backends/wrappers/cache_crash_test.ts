/**
 * Caches over a file whose server is killed, or whose machine loses its power, at any operation on
 * the file, and whose operations fail, drawn from seeds (`tests/crashes/`).
 *
 * `-- --seed 7` replays a seed, and `-- --seeds 20000` tries many.
 *
 * @module
 */

import { makePortFile, portFileDisk } from "../../tests/backends/port_file.ts";
import type { CrashedDisk } from "../../tests/crashes/life.ts";
import { initialBytes, liveSeeds } from "../../tests/crashes/seeds.ts";
import { cache, type CacheOptions, open } from "./cache.ts";

/** The last block of a cache is not whole. */
const SECTORS = 6 * 8 + 3;
const PATH = "/disk";

/** Caches that hold all of the disk, a part, and next to nothing. */
const SHAPES: readonly CacheOptions[] = [
  { size: 100 * 4096 },
  { size: 4 * 4096 },
  { size: 4096 },
  { size: 3 * 8192, block: 8192 },
];

function cached(seed: number, mode: "write-back" | "write-through"): CrashedDisk {
  const shape = SHAPES[seed % SHAPES.length];
  const { options } = cache({ module: "" }, { ...shape, mode });
  // The kernel's own files tell of a failure once: a cache that writes back must make up for that.
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
