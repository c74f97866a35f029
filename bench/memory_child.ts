/**
 * A process that serves a volume, writes to it and reads it cold, and prints the most memory that it
 * had, in bytes: how large it is itself decides nothing here but its modules.
 *
 * @module
 */

import { serveVolume } from "./volume_served.ts";

const BLOCK = 4096;
/** Requests at a time: as many connections to a server have one each. */
const DEPTH = 64;

const [name, store, journal, count] = Deno.args;
const place = { name, store, journal, journalBytes: 256 << 20 };
for (const kind of ["write", "read"] as const) {
  await using served = await serveVolume(place, BLOCK);
  served.host.run({ kind, depth: DEPTH, bytes: BLOCK, size: served.size, count: Number(count) });
}
const [, kib] = /^VmHWM:\s*(\d+) kB$/m.exec(Deno.readTextFileSync("/proc/self/status"))!;
console.log(`${Number(kib) * 1024} bytes`);
