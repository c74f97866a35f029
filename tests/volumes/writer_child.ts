/**
 * A program that writes numbered blocks to a volume, many at a time, and prints the number of each
 * that was answered, in order. It goes on until it is killed.
 *
 * @module
 */

import { Volume } from "../../volume.ts";

const BLOCK = 4096;
const AT_A_TIME = 16;

const [options, from] = Deno.args;
const volume = await Volume.open("v", JSON.parse(options));
const blocks = volume.size / BLOCK;
const encoder = new TextEncoder();
for (let id = Number(from) + 1;; id += AT_A_TIME) {
  const ids = Array.from({ length: AT_A_TIME }, (_, nth) => id + nth);
  await Promise.all(ids.map((one) => {
    const data = new Uint8Array(new Uint32Array(BLOCK / 4).fill(one).buffer);
    return volume.write(data, one % blocks * BLOCK);
  }));
  if (id % 5 === 0) await volume.sync();
  Deno.stdout.writeSync(encoder.encode(ids.map((one) => `${one}\n`).join("")));
}
