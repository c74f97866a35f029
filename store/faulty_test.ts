/**
 * The faults of stores.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Dice } from "../uapi/dice.ts";
import { checkStoreConformance } from "./conformance.ts";
import { drawnStoreFaults, type StoreCall, type StoreCallFault } from "./faults.ts";
import { FaultyStore } from "./faulty.ts";
import { MemoryStore } from "./memory.ts";
import { type Store, StoreError } from "./store.ts";

const [ONE, TWO] = [new Uint8Array([1, 1, 1, 1]), new Uint8Array([2, 2])];

/** A store whose next call has a fault. */
function failing(): { store: FaultyStore; inner: Store; next(fault: StoreCallFault): void } {
  const inner = new MemoryStore();
  const store = new FaultyStore(inner);
  const next = (fault: StoreCallFault) => {
    store.faults = () => {
      store.faults = undefined;
      return fault;
    };
  };
  return { store, inner, next };
}

const faultOf = async (work: Promise<unknown>) =>
  (await assertRejects(() => work, StoreError)).fault;

async function namesIn(store: Store): Promise<string> {
  const names: string[] = [];
  for await (const { name } of store.list("")) names.push(name);
  return names.sort().join();
}

Deno.test("FaultyStore conforms without faults", async () => {
  const pause = () => Promise.resolve();
  const inner = () => new MemoryStore("faulty");
  await checkStoreConformance(() => Promise.resolve(new FaultyStore(inner(), { pause })));
});

Deno.test("FaultyStore + fails before it does anything", async () => {
  const { store, inner, next } = failing();
  next("unavailable");
  assertEquals(await faultOf(store.putIfAbsent("a", ONE)), "unavailable");
  next("full");
  assertEquals(await faultOf(store.putIfAbsent("a", ONE)), "full");
  assertEquals(await inner.get("a"), undefined);
  const version = await store.putIfAbsent("a", ONE);
  next("full");
  assertEquals(await faultOf(store.replace("a", TWO, version!)), "full");
  next("unavailable");
  assertEquals(await faultOf(store.delete("a")), "unavailable");
  next("unavailable");
  assertEquals(await faultOf(store.get("a")), "unavailable");
  assertEquals((await store.get("a"))?.bytes, ONE);
});

Deno.test("FaultyStore + does what it says has failed, or was lost to another", async () => {
  const { store, next } = failing();
  next("lost answer");
  assertEquals(await faultOf(store.putIfAbsent("a", ONE)), "unavailable");
  const found = await store.get("a");
  assertEquals(found?.bytes, ONE);
  next("lost race");
  assertEquals(await store.replace("a", TWO, found!.version), undefined);
  assertEquals((await store.get("a"))?.bytes, TWO);
  next("lost race");
  assertEquals(await store.putIfAbsent("b", TWO), undefined);
  assertEquals((await store.get("b"))?.bytes, TWO);
  next("lost answer");
  assertEquals(await faultOf(store.delete("b")), "unavailable");
  assertEquals(await store.get("b"), undefined);
});

Deno.test("FaultyStore + does later what has failed, with the bytes of then", async () => {
  const { store, inner, next } = failing();
  const bytes = ONE.slice();
  next("late");
  assertEquals(await faultOf(store.putIfAbsent("a", bytes)), "unavailable");
  bytes.fill(9);
  assertEquals(await inner.get("a"), undefined);
  let calls = 0;
  while (await store.get("a") === undefined) calls++;
  assert(calls < 100, `${calls} calls`);
  const { version } = (await store.get("a"))!;
  next("late");
  assertEquals(await faultOf(store.replace("a", TWO, version)), "unavailable");
  await store.replace("a", ONE, version);
  await store.arrive();
  assertEquals((await inner.get("a"))?.bytes, ONE, "too late to replace it");
  next("late");
  assertEquals(await faultOf(store.delete("a")), "unavailable");
  await store.arrive();
  assertEquals(await inner.get("a"), undefined);
});

Deno.test("FaultyStore + reads too little, or a flipped bit", async () => {
  const { store, next } = failing();
  await store.putIfAbsent("a", ONE);
  next("short");
  const short = await store.get("a");
  assert(short!.bytes.length < 4 && short!.size === 4);
  next("flipped");
  const flipped = (await store.get("a", { range: { offset: 1, length: 2 } }))!.bytes;
  assertEquals([flipped.length, flipped.filter((byte) => byte !== 1).length], [2, 1]);
  assertEquals((await store.get("a"))?.bytes, ONE);
});

Deno.test("FaultyStore + lists what was, and not all of what is", async () => {
  const { store, next } = failing();
  for (const name of ["a", "b", "c"]) await store.putIfAbsent(name, ONE);
  await store.delete("b");
  const found = new Set<string>();
  for (let tries = 0; tries < 100; tries++) {
    next("stale");
    found.add(await namesIn(store));
  }
  assert(found.has("") && found.has("b,c") && found.has("a,b"), [...found].join(" "));
  next("unavailable");
  assertEquals(await faultOf(namesIn(store)), "unavailable");
  assertEquals(await namesIn(store), "a,c");
});

Deno.test("FaultyStore + waits before a call and before its answer", async () => {
  const inner = new MemoryStore();
  const seen: string[] = [];
  const pause = async ({ name }: StoreCall, when: string) => {
    seen.push(`${when} ${name}: ${(await inner.get("a"))?.size}`);
  };
  await using store = new FaultyStore(inner, { pause });
  await store.putIfAbsent("a", ONE);
  await store.delete("a");
  assertEquals(seen, [
    "before put: undefined",
    "after put: 4",
    "before delete: 4",
    "after delete: undefined",
  ]);
});

Deno.test("FaultyStore + one seed is one run", async () => {
  const run = async (seed: number) => {
    const dice = new Dice(seed);
    const rates = { unavailable: 9, full: 9, "lost answer": 9, "lost race": 9, late: 4 };
    const faults = drawnStoreFaults(dice, { ...rates, short: 5, flipped: 5, stale: 3 });
    await using store = new FaultyStore(new MemoryStore(), { dice, faults });
    const seen: unknown[] = [];
    const note = async (work: Promise<unknown>) =>
      seen.push(await work.catch((error) => String(error)));
    for (let step = 0; step < 100; step++) {
      const name = `${step % 7}`;
      await note(store.putIfAbsent(name, ONE));
      await note(store.get(name));
      if (step % 3 === 0) await note(store.delete(name));
      if (step % 10 === 0) await note(namesIn(store));
    }
    return JSON.stringify([seen, store.log]);
  };
  const first = await run(1);
  assertEquals(await run(1), first);
  assert(await run(2) !== first);
  for (const fault of ["unavailable", "full", "lost answer", "lost race", "late", "stale"]) {
    assert(first.includes(`(${fault})`), fault);
  }
});
