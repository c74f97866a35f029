/**
 * Serves so many disks with `async` methods, each in a Worker, prints the path of each, and does
 * nothing else until it is killed: `_many_server.ts COUNT`.
 *
 * @module
 */

import { serve } from "../../mod.ts";
import { counting, watched } from "../backends/counting.ts";

/** How many start at once. */
const AT_ONCE = 8;

const count = Number(Deno.args[0]);
for (let started = 0; started < count; started += AT_ONCE) {
  const some = Array.from({ length: Math.min(AT_ONCE, count - started) }, async () => {
    const backend = counting(watched(1 << 20), "single", { style: "async" });
    const { path } = await serve({ backend, depth: 4, deadlineMs: 8000 });
    console.log(path);
  });
  await Promise.all(some);
}
