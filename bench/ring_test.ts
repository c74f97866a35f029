import { assertEquals, assertMatch } from "@std/assert";
import { BATCHES, hostConditions, measureRing, ringTable } from "./ring.ts";
import { openAllOfLibc } from "../uring/libc.ts";

openAllOfLibc(); // Stays open for the life of the process, so it is not a leak of the test.

Deno.test("measureRing() returns finite figures for every batch size", async () => {
  const samples = measureRing({ rounds: 2, nops: 500 });
  assertEquals([...samples.keys()], [...BATCHES]);
  for (const ns of samples.values()) {
    assertEquals(ns.length, 2);
    assertEquals(ns.every((value) => Number.isFinite(value) && value > 0), true);
  }
  assertMatch(ringTable(samples), /^\| 128 +\| \d+/m);
  assertMatch((await hostConditions()).join("\n"), /Deno 2/);
});
