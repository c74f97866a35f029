import { assert, assertEquals } from "@std/assert";
import { VolumeCounters } from "./counters.ts";
import { readCounters } from "../disk/counters.ts";
import { Lag } from "./lag.ts";

const S = 1_000_000;

function rig(end = { position: 0, written: 0 }) {
  const counters = new VolumeCounters();
  const lag = new Lag(counters, { position: 0, written: 0 }, end, 10 * S);
  const at = (seconds: number) => {
    const { lagBytes, lagSeconds } = readCounters(counters, seconds * S).values;
    return [lagBytes, lagSeconds];
  };
  return { lag, at };
}

Deno.test("the lag is the age of the oldest write that the store lacks, and the bytes since", () => {
  const { lag, at } = rig();
  assertEquals(at(20), [0, 0]);
  lag.published(100, 10, 21 * S);
  lag.published(200, 20, 23 * S);
  lag.published(300, 30, 26 * S);
  assertEquals(at(30), [30, 9]);
  // A part of it is stored: the rest came later.
  lag.stored(100, 10);
  assertEquals(at(30), [20, 7]);
  // One that ends between two marks does not make the second one older.
  lag.stored(250, 25);
  assertEquals(at(30), [5, 4]);
  lag.stored(300, 30);
  assertEquals(at(30), [0, 0]);
  lag.published(400, 70, 31 * S);
  assertEquals(at(32), [40, 1]);
});

Deno.test("the lag of a journal that another server has left counts from the start", () => {
  const { lag, at } = rig({ position: 500, written: 50 });
  assertEquals(at(12), [50, 2]);
  lag.stored(500, 50);
  assertEquals(at(12), [0, 0]);
});

Deno.test("the lag is never too low, and too high by little, however long the store is away", () => {
  const { lag, at } = rig();
  // An hour of writes, ten each second.
  const from = 20;
  for (let nth = 1; nth <= 36_000; nth++) lag.published(nth, nth, (from + nth / 10) * S);
  const now = from + 3600;
  for (const stored of [1, 999, 12_345, 30_000, 35_500, 35_999]) {
    lag.stored(stored, stored);
    const age = now - (from + (stored + 1) / 10);
    const told = at(now)[1]!;
    assert(
      told >= age - 1e-6 && told <= age + 0.05 + 3600 * 0.02,
      `${stored}: ${told}, not ${age}`,
    );
  }
  // From then on it is exact again, although the store never has everything.
  for (let nth = 36_001; nth <= 36_100; nth++) lag.published(nth, nth, (from + nth / 10) * S);
  lag.stored(36_090, 36_090);
  const told = at(from + 3610)[1]!;
  assert(told >= 0.9 - 1e-6 && told <= 0.95 + 1e-6, `${told}`);
  lag.stored(36_100, 36_100);
  assertEquals(at(now), [0, 0]);
});
