/**
 * Volumes on a simulated machine: servers are killed, the power is cut at any operation on a file,
 * servers detach in order, and the next one must find what was promised. Files, disks and stores
 * fail, journals are lost, servers are cut off, and bits flip.
 *
 * `-- --seed 7` replays a seed, and `-- --seeds 20000` tries many. `--filter` chooses a test.
 *
 * @module
 */

import { eachSeed } from "../tests/seeds.ts";
import { caches } from "../tests/volumes/caches.ts";
import { clones } from "../tests/volumes/clones.ts";
import { crashes } from "../tests/volumes/crashes.ts";
import {
  brokenFiles,
  brokenMoves,
  brokenStore,
  fullStore,
  interruptions,
} from "../tests/volumes/faults.ts";
import { flips } from "../tests/volumes/flips.ts";
import { lostJournals, twoWriters } from "../tests/volumes/takeovers.ts";

Deno.test("a volume keeps its promises through every crash", async (t) => {
  await eachSeed(t, 200, crashes);
});

Deno.test("a volume does not notice interrupted and short transfers", async (t) => {
  await eachSeed(t, 30, interruptions);
});

Deno.test("a volume acknowledges nothing that a failing disk has not kept", async (t) => {
  await eachSeed(t, 60, brokenFiles);
});

Deno.test("a volume loses nothing to a store that fails", async (t) => {
  await eachSeed(t, 60, brokenStore);
});

Deno.test("a volume finds data that is moved while its store fails", async (t) => {
  await eachSeed(t, 80, brokenMoves);
});

Deno.test("a volume goes on after its store was full", async (t) => {
  await eachSeed(t, 50, fullStore);
});

Deno.test("a volume without its journal is a prefix, and says how old it is", async (t) => {
  await eachSeed(t, 50, lostJournals);
});

Deno.test("a volume has one writer: who is cut off changes nothing", async (t) => {
  await eachSeed(t, 50, twoWriters);
});

Deno.test("a volume returns no flipped bit", async (t) => {
  await eachSeed(t, 60, flips);
});

Deno.test("a volume reads what was written, whatever happens to its cache", async (t) => {
  await eachSeed(t, 60, caches);
});

Deno.test("volumes, their snapshots and clones have what they must have, and leave nothing", async (t) => {
  await eachSeed(t, 120, clones);
});
