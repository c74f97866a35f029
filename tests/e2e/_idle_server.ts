/**
 * Serves one disk of each kind, prints their paths, and does nothing else until it is killed.
 *
 * @module
 */

import { memory, serve } from "../../mod.ts";
import { Volume, volume } from "../../volume.ts";
import { counting, open, watched } from "../backends/counting.ts";

/** The watch looks eight times in this, and sleeps after three looks. */
const deadlineMs = 8000;
const folder = await Deno.makeTempDir({ prefix: "ublk-idle-" });
const at = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
await Deno.mkdir(at.store);
await Volume.create("idle", { store: at.store, size: "1M" });
const backends = [
  memory("1MiB"),
  counting(watched(1 << 20), "single", { style: "async" }),
  open({ ...watched(1 << 20), style: "async" }),
  volume("idle", at),
];
const paths: string[] = [];
for (const backend of backends) paths.push((await serve({ backend, deadlineMs })).path);
console.log(paths.join(" "));
