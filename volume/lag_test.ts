import { assert, assertEquals } from "@std/assert";
import { readCounters } from "../disk/counters.ts";
import { VolumeCounters } from "./counters.ts";
import { Lag } from "./lag.ts";

const S = 1_000_000;
/** Bytes of the journal: a mark is made every 1000. */
const SIZE = 256_000;

function rig(end = { position: 0, written: 0 }) {
  const counters = new VolumeCounters();
  const clock = {
    now: 10,
    reads: 0,
    nowUs() {
      this.reads++;
      return this.now * S;
    },
  };
  const lag = new Lag(counters, { position: 0, written: 0 }, end, SIZE, clock);
  return {
    ...{ lag, clock },
    publish(position: number, seconds: number, looks = 0) {
      clock.now = seconds;
      lag.published(position, position / 10, looks);
    },
    store: (position: number) => lag.stored(position, position / 10),
    at(seconds: number) {
      const { lagBytes, lagSeconds } = readCounters(counters, seconds * S).values;
      return [lagBytes, lagSeconds];
    },
  };
}

Deno.test("the lag is the bytes that the store lacks, and the age of the oldest of them", () => {
  const { publish, store, at } = rig();
  assertEquals(at(20), [0, 0]);
  publish(100, 21);
  publish(200, 23);
  assertEquals(at(30), [20, 9]);
  // The drain looks, and commits what is there. What comes after its look is younger.
  publish(300, 26, 1);
  publish(400, 27, 1);
  assertEquals(at(30), [40, 9]);
  store(200);
  assertEquals(at(30), [20, 4]);
  // A commit that ends between two marks does not make the rest younger than it may be.
  store(300);
  assertEquals(at(30), [10, 4]);
  store(400);
  assertEquals(at(30), [0, 0]);
  publish(500, 31, 1);
  assertEquals(at(32), [10, 1]);
});

Deno.test("the lag + a commit that does not get far + what is left came after what it took", () => {
  const { publish, store, at } = rig();
  for (let nth = 1; nth <= 20; nth++) publish(nth * 500, 20 + nth);
  store(4_500);
  // Of the block after that the mark is that of position 4000, and the first after it came at 29.
  assertEquals(at(50), [550, 50 - 29]);
});

Deno.test("the lag of a journal that another server has left counts from the start", () => {
  const { store, at } = rig({ position: 500, written: 50 });
  assertEquals(at(12), [50, 2]);
  store(500);
  assertEquals(at(12), [0, 0]);
});

Deno.test("the lag reads no clock for each batch", () => {
  const { publish, clock } = rig();
  for (let nth = 1; nth <= 1000; nth++) publish(nth * 10, 20 + nth / 1000);
  assertEquals(clock.reads, 10);
});

Deno.test("the lag is never too low, and too high by little, however long the store is away", () => {
  const { publish, store, at } = rig();
  // An hour of writes, ten each second. The drain looks at each of them, in vain.
  const from = 20;
  for (let nth = 1; nth <= 36_000; nth++) publish(nth, from + nth / 10, nth);
  const now = from + 3600;
  for (const stored of [1, 999, 12_345, 30_000, 35_500, 35_999]) {
    store(stored);
    const age = now - (from + (stored + 1) / 10);
    const told = at(now)[1]!;
    assert(told >= age - 1e-6 && told <= age + 3600 * 0.02, `${stored}: ${told}, not ${age}`);
  }
  // From then on it is exact again, although the store never has everything.
  for (let nth = 36_001; nth <= 36_100; nth++) publish(nth, from + nth / 10, nth);
  store(36_090);
  const told = at(from + 3610)[1]!;
  assert(told >= 0.9 - 1e-6 && told <= 0.95 + 1e-6, `${told}`);
  store(36_100);
  assertEquals(at(now), [0, 0]);
});
