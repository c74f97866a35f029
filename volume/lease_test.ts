import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { MemoryStore } from "../store/memory.ts";
import { StoreError } from "../store/store.ts";
import { inFolder } from "../tests/volumes/folders.ts";
import { isUblkError, UblkError } from "../uapi/error.ts";
import { briefClaim, Committed } from "./committed.ts";
import { readHead } from "./state.ts";
import { createVolume } from "./create.ts";
import { NO_UUID } from "./format/record.ts";
import { checkedLease, Lease } from "./lease.ts";
import { LeaseKeeper } from "./lease_keeper.ts";
import { waitOutLease } from "./lease_wait.ts";
import { ObjectNames } from "./names.ts";
import { MACHINE } from "./seam.ts";
import { Volume } from "./volume.ts";

const SHAPE = { size: 1 << 20, blockSize: 4096, chunkSize: 1 << 20 };

Deno.test("a lease is held for fifteen sixteenths of it, and again when it is renewed", () => {
  let now = 5000;
  const lease = new Lease(1600, () => now);
  lease.renewed(lease.now());
  assertEquals([lease.isHeld, Math.ceil(lease.dueMs)], [true, 534]);
  now += 1499;
  assert(lease.isHeld);
  now += 1;
  assert(!lease.isHeld);
  assert(lease.dueMs < 0);
  const other = new Lease(1600, () => now, lease.memory);
  other.renewed(now);
  assert(lease.isHeld, "both threads see it");
});

Deno.test("a volume without a lease asks no clock, and is held for ever", () => {
  const lease = new Lease(0, () => {
    throw new Error("it asks");
  });
  lease.renewed(lease.now());
  assert(lease.isHeld);
});

Deno.test("a lease is checked, and by default one where others reach the store", () => {
  assertEquals(checkedLease("v", undefined, "/srv/volumes"), 0);
  assertEquals(checkedLease("v", undefined, "s3://bucket/volumes"), 45_000);
  assertEquals(checkedLease("v", 7, "/srv/volumes"), 7000);
  for (const wrong of [-1, 1.5, NaN, 86_401]) {
    const error = assertThrows(() => checkedLease("v", wrong, "/srv"), UblkError);
    assertEquals(error.code, "INVALID_ARGUMENT");
  }
});

/** A volume, held with a lease over a clock that a test moves. */
async function heldVolume(leaseMs = 1600) {
  const clock = { now: 0 };
  const seam = { ...MACHINE, elapsed: () => clock.now };
  const calls = { before: () => {}, after: () => {}, error: undefined as unknown };
  const inner = new MemoryStore();
  const store = Object.assign(Object.create(inner) as MemoryStore, {
    async replace(...args: Parameters<MemoryStore["replace"]>) {
      calls.before();
      if (calls.error !== undefined) throw calls.error;
      const version = await inner.replace(...args);
      calls.after();
      return version;
    },
  });
  for (const name of ["get", "putIfAbsent", "list", "delete"] as const) {
    Object.assign(store, { [name]: inner[name].bind(inner) });
  }
  await createVolume(store, "v", SHAPE, seam);
  const lease = new Lease(leaseMs, seam.elapsed);
  const claim = { seam, host: "alder", lease };
  const journal = "11".repeat(16);
  const committed = await Committed.claim(store, "v", claim, () => journal);
  return { clock, seam, calls, store, lease, committed, names: new ObjectNames("v") };
}

Deno.test("a claim and each new head renew the lease, from when the head was sent", async () => {
  const { clock, calls, lease, committed, store, names } = await heldVolume();
  assertEquals((await readHead(store, names))?.head.leaseMs, 1600);
  clock.now = 1000;
  await committed.renew();
  clock.now = 2400;
  assert(lease.isHeld, "renewed at 1000, so held until 2500");
  // The answer comes late: others may count from when the store had it.
  calls.after = () => clock.now += 1000;
  await committed.renew();
  assertEquals([clock.now, lease.isHeld], [3400, true]);
  clock.now = 2400 + 1500;
  assert(!lease.isHeld);
  calls.after = () => {};
  await committed.commit({ size: 2 << 20 });
  assert(lease.isHeld, "a commit renews it too");
});

Deno.test("a renewal that was not answered does not renew, and the next one does", async () => {
  const { clock, calls, lease, committed } = await heldVolume();
  clock.now = 1499;
  calls.after = () => {
    throw new StoreError("unavailable", "the answer is lost");
  };
  await assertRejects(() => committed.renew(), StoreError);
  clock.now = 1500;
  assert(!lease.isHeld);
  calls.after = () => {};
  await committed.renew();
  assert(lease.isHeld);
});

Deno.test("a renewal beside a commit + both succeed, and the commit counts", async () => {
  const { committed, store, names } = await heldVolume();
  await Promise.all([committed.renew(), committed.commit({ size: 2 << 20 }), committed.renew()]);
  assertEquals(committed.manifest.size, 2 << 20);
  assertEquals((await readHead(store, names))?.head.manifest, committed.manifest.number);
});

Deno.test("a volume that is released has no lease any more", async () => {
  const { committed, store, names } = await heldVolume();
  await committed.release();
  const head = (await readHead(store, names))!.head;
  assertEquals([head.leaseMs, head.attached, head.journal], [0, false, NO_UUID]);
});

Deno.test("a claim is not refused because the writer renews its lease meanwhile", async () => {
  const { committed, store, seam } = await heldVolume();
  const claim = briefClaim(seam, "beech");
  let looks = 0;
  const taken = await Committed.claim(store, "v", claim, async () => {
    if (++looks < 4) await committed.renew();
    return "22".repeat(16);
  });
  assertEquals([looks, taken.epoch], [4, committed.epoch + 1]);
  const error = await assertRejects(() => committed.renew(), UblkError);
  assertEquals(error.code, "VOLUME_FENCED");
});

Deno.test("a claim is refused if another one was faster", async () => {
  const { store, seam } = await heldVolume();
  const claim = briefClaim(seam, "beech");
  const late = Committed.claim(store, "v", claim, async () => {
    await Committed.claim(store, "v", briefClaim(seam, "cedar"), () => "33".repeat(16));
    return "22".repeat(16);
  });
  const error = await assertRejects(() => late, UblkError);
  assertEquals(error.code, "VOLUME_FENCED");
  assertStringIncludes(error.message, "cedar");
});

/** A keeper whose timers a test fires. */
function keeperOf({ committed, lease }: Pick<Held, "committed" | "lease">, random = () => 1) {
  const timers: { ms: number; call: () => void; isCancelled: boolean }[] = [];
  const told: string[] = [];
  const keeper = new LeaseKeeper({
    ...{ committed, lease, random },
    regained: () => told.push("regained"),
    lost: (error) => told.push(`lost: ${isUblkError(error) ? error.code : error}`),
    report: (words) => told.push(words),
    timer(ms, call) {
      const timer = { ms, call, isCancelled: false };
      timers.push(timer);
      return () => timer.isCancelled = true;
    },
  });
  const fire = async () => {
    timers.at(-1)!.call();
    for (let turn = 0; turn < 50; turn++) await undefined;
  };
  return { keeper, timers, told, fire };
}

type Held = Awaited<ReturnType<typeof heldVolume>>;

Deno.test("a keeper renews after a third of the lease, or later if a commit has done so", async () => {
  const held = await heldVolume(1500);
  const { keeper, timers, fire } = keeperOf(held);
  keeper.start();
  assertEquals(timers.map(({ ms }) => ms), [500]);
  held.clock.now = 400;
  await held.committed.commit({ size: 2 << 20 });
  held.clock.now = 500;
  await fire();
  assertEquals(timers.at(-1)!.ms, 400);
  held.clock.now = 900;
  const before = held.committed.head.nonce;
  await fire();
  assert(held.committed.head.nonce !== before, "it has renewed");
  assertEquals(timers.at(-1)!.ms, 500);
  await keeper.stop();
  assert(timers.at(-1)!.isCancelled);
});

Deno.test("a keeper renews for the first time at a random moment, and then after a third", async () => {
  const held = await heldVolume(1500);
  const { keeper, timers, fire } = keeperOf(held, () => 0.25);
  keeper.start();
  assertEquals(timers.map(({ ms }) => ms), [125]);
  held.clock.now = 125;
  const before = held.committed.head.nonce;
  await fire();
  assert(held.committed.head.nonce !== before, "it has renewed");
  assertEquals(timers.at(-1)!.ms, 500);
  held.clock.now = 600;
  const again = held.committed.head.nonce;
  await fire();
  assertEquals(held.committed.head.nonce, again, "it is not early twice");
  await keeper.stop();
});

Deno.test("a keeper tries again, says once that no FLUSH is answered, and when they are again", async () => {
  const held = await heldVolume(1500);
  const { keeper, timers, told, fire } = keeperOf(held);
  keeper.start();
  held.calls.error = new StoreError("unavailable", "the store is away");
  held.clock.now = 600;
  await fire();
  assertEquals(told, []);
  assert(timers.at(-1)!.ms <= 1500 / 8);
  held.clock.now = 2000;
  await fire();
  await fire();
  const [line, ...more] = told;
  assertStringIncludes(line, "no FLUSH is answered: the store is away");
  assertEquals(more, []);
  held.calls.error = undefined;
  await fire();
  assertEquals(told.slice(1), [
    "regained",
    "the lease is renewed, and FLUSHes are answered again",
  ]);
  assertEquals(timers.at(-1)!.ms, 500);
});

Deno.test("a keeper tells of a lease that ran out while it was renewed: a FLUSH may wait since then", async () => {
  const held = await heldVolume(1600);
  const { keeper, told, fire } = keeperOf(held);
  keeper.start();
  held.clock.now = 600;
  await fire();
  assertEquals(told, [], "it was held all the time");
  held.clock.now = 2000;
  // It runs out once the head has been sent.
  held.calls.before = () => {
    assert(held.lease.isHeld);
    held.clock.now = 600 + 1500;
    assert(!held.lease.isHeld);
  };
  await fire();
  assert(held.lease.isHeld);
  assertEquals(told, ["regained"]);
  held.calls.before = () => {};
  held.clock.now = 2000 + 600;
  await fire();
  assertEquals(told, ["regained"]);
  await keeper.stop();
});

Deno.test("a keeper tells of a lease that a commit renewed after its end", async () => {
  const held = await heldVolume(1600);
  const { keeper, told, fire } = keeperOf(held);
  keeper.start();
  held.clock.now = 1500;
  assert(!held.lease.isHeld);
  await held.committed.commit({ size: 2 << 20 });
  await fire();
  assertEquals(told, ["regained"]);
  await keeper.stop();
});

Deno.test("a keeper tells nothing of a renewal whose answer came too late", async () => {
  const held = await heldVolume(1600);
  const { keeper, told, timers, fire } = keeperOf(held);
  keeper.start();
  held.clock.now = 600;
  held.calls.after = () => held.clock.now += 1600;
  await fire();
  assert(!held.lease.isHeld);
  assertEquals([told, timers.at(-1)!.ms], [[], 0]);
  held.calls.after = () => {};
  await fire();
  assertEquals(told, ["regained"]);
  await keeper.stop();
});

Deno.test("a keeper tells that the volume is lost, and ends", async () => {
  const held = await heldVolume(1500);
  const { keeper, timers, told, fire } = keeperOf(held);
  keeper.start();
  const claim = briefClaim(held.seam, "birch");
  await Committed.claim(held.store, "v", claim, () => "22".repeat(16));
  held.clock.now = 600;
  await fire();
  assertEquals(told, ["lost: VOLUME_FENCED"]);
  assertEquals(timers.length, 1);
});

Deno.test("a taker waits until the head has been the same for a whole lease", async () => {
  const { clock, seam, store, names, committed } = await heldVolume(1600);
  let looks = 0;
  const pause = (ms: number) => {
    looks++;
    clock.now += ms;
    return Promise.resolve();
  };
  const nonce = await waitOutLease({ store, names, seam, pause }, committed.head);
  assertEquals([nonce, clock.now, looks], [committed.head.nonce, 1600, 16]);
});

Deno.test("a taker is refused by a writer that renews, and does not wait for one that detaches", async () => {
  const { seam, store, names, committed } = await heldVolume(1600);
  const { head } = committed;
  const wait = { store, names, seam, pause: () => committed.renew() };
  const error = await assertRejects(() => waitOutLease(wait, head), UblkError);
  assertEquals(error.code, "VOLUME_BUSY");
  assertStringIncludes(error.message, "alder has it attached, and has renewed its lease of 1.6 s");
  const detaches = { ...wait, pause: () => committed.release() };
  const nonce = await waitOutLease(detaches, committed.head);
  assertEquals(nonce, committed.head.nonce);
});

Deno.test("takeVolume + somebody attaches it after it was looked at + his lease is respected", async () => {
  const inner = new MemoryStore();
  await createVolume(inner, "v", SHAPE, MACHINE);
  const { head } = new ObjectNames("v");
  let mayAttach = false;
  const store = Object.assign(Object.create(inner) as MemoryStore, {
    // It is called just before the look.
    verify: () => Promise.resolve(void (mayAttach = true)),
    async get(name: string) {
      const found = await inner.get(name);
      if (name !== head || !mayAttach) return found;
      mayAttach = false;
      const claim = { seam: MACHINE, host: "alder", lease: new Lease(45_000, MACHINE.elapsed) };
      await Committed.claim(inner, "v", claim, () => "11".repeat(16));
      return found;
    },
  });
  for (const name of ["replace", "putIfAbsent", "list", "delete"] as const) {
    Object.assign(store, { [name]: inner[name].bind(inner) });
  }
  await inFolder(async ({ journal, journalSize }) => {
    const options = { store, journal, journalSize, withoutJournal: true };
    const error = await assertRejects(() => Volume.open("v", options), UblkError);
    assertEquals(error.code, "VOLUME_BUSY", error.message);
    const forced = { ...options, store: inner, force: true };
    await using volume = await Volume.open("v", forced);
    assertEquals(volume.lost?.host, "alder");
  });
});
