/**
 * Bytes that are paid for in time.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { Pace } from "./pace.ts";

/** A pace of one byte in a millisecond, with a clock that waiting alone moves on. */
function paceOf(waits: (nowMs: number) => void = () => {}) {
  let now = 0;
  const pace = new Pace(1000, () => now, (ms) => {
    now += ms;
    waits(now);
    return Promise.resolve();
  });
  return { pace, now: () => now };
}

Deno.test("Pace.pay + waits for its own bytes, and for all before them", async () => {
  const { pace, now } = paceOf();
  await pace.pay(1500);
  assertEquals(now(), 1500);
  pace.owe(2000);
  await pace.pay(500);
  assertEquals(now(), 4000);
});

Deno.test("Pace.turn + waits for what is before it, and whoever is next for it", async () => {
  const { pace, now } = paceOf();
  await pace.turn(3000);
  assertEquals(now(), 0);
  await pace.turn(10);
  assertEquals(now(), 3000);
  await pace.turn(0);
  assertEquals(now(), 3010);
});

Deno.test("Pace.turn + a wait that is ended + nothing is owed for it", async () => {
  const end = new AbortController();
  const { pace, now } = paceOf((nowMs) => nowMs >= 2000 && end.abort(new Error("enough")));
  await pace.turn(5000);
  await assertRejects(() => pace.turn(60_000, end.signal), Error, "enough");
  assertEquals(now(), 2000);
  await pace.turn(0);
  assertEquals(now(), 5000);
});

Deno.test("Pace.forgive + bytes that were not moved + nobody waits for them, and none is given", async () => {
  const { pace, now } = paceOf();
  await pace.turn(5000);
  pace.forgive(4000);
  await pace.turn(3000);
  assertEquals(now(), 1000);
  pace.forgive(3000);
  pace.forgive(3000);
  await pace.turn(2000);
  await pace.turn(0);
  assertEquals(now(), 3000);
});
