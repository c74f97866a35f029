/**
 * Creates, uses and removes devices over and over, and says after every fifth of the rounds what
 * the process holds: `_rounds.ts KIND ROUNDS`. A process of its own, with `--expose-gc`, because
 * what a collector has not got to yet is no leak.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { type Backend, type BackendSpec, memory, serve } from "../../mod.ts";
import { counting, open, watched } from "../backends/counting.ts";
import { sh } from "./_disk.ts";
import { settled } from "./_held.ts";

const MAKES: Record<string, () => BackendSpec | Backend> = {
  memory: () => memory("8MiB"),
  object: () => open({ ...watched(1 << 20), style: "plain" }),
  asynchronous: () => counting(watched(1 << 20), "single", { style: "async" }),
};
const USE = "dd if=/dev/urandom of=$disk bs=64K count=1 oflag=direct status=none";

const [kind, rounds] = [Deno.args[0], Number(Deno.args[1])];
const { gc } = globalThis as unknown as { gc(): void };
for (let round = 1; round <= rounds; round++) {
  {
    await using device = await serve({ backend: MAKES[kind](), queues: 2 });
    assertEquals(device.info().queues, 2);
    await sh(USE, { disk: device.path });
  }
  if (round % (rounds / 5) === 0) {
    gc();
    console.log(JSON.stringify(await settled()));
  }
}
