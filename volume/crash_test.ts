/**
 * Volumes on a simulated machine: servers are killed, the power is cut at any operation on a file,
 * servers detach in order, and the next one must find what was promised.
 *
 * `-- --seed 7` replays a seed, and `-- --seeds 20000` tries many.
 *
 * @module
 */

import { eachSeed } from "../tests/seeds.ts";
import { crashes } from "../tests/volumes/crashes.ts";

Deno.test("a volume keeps its promises through every crash", async (t) => {
  await eachSeed(t, 300, crashes);
});
