/**
 * Volumes in Ceph, whose daemons are killed, whose disk or quota is full, and behind a proxy that
 * fails.
 *
 * ```sh
 * deno test -A tests/ceph/outages_test.ts -- --seeds 20
 * ```
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { StoreError } from "../../store/store.ts";
import { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Ceph } from "../../vm/ceph.ts";
import { checkVolume } from "../../volume/check.ts";
import { areEqual } from "../../volume/state.ts";
import { Volume } from "../../volume/volume.ts";
import { Scratch } from "../scratch.ts";
import { eachSeed } from "../seeds.ts";
import { Bucket } from "./_bucket.ts";
import { Load } from "./_load.ts";
import { Proxy, PROXY_FAULTS } from "./_proxy.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const BLOCKS = 1024;
const SIZE = BLOCKS * 4096;
const SEEDS = 3;

Deno.test("volumes in a Ceph that fails", async (t) => {
  await using ceph = await Ceph.start();
  const bucket = await Bucket.make(ceph, "bucket");

  await t.step("a quota is full, and passes once it is raised", async () => {
    await using store = bucket.store(undefined, { tryMs: 1000 });
    const quota = (...words: string[]) => ceph.run("radosgw-admin", "quota", ...words, "--uid=u");
    await quota("set", "--quota-scope=user", "--max-objects=1");
    await quota("enable", "--quota-scope=user");
    try {
      const full = await fails(() =>
        store.putIfAbsent(`q/${crypto.randomUUID()}`, new Uint8Array(9))
      );
      assertEquals(full.fault, "full", full.message);
      assert(full.message.includes("make room"), full.message);
    } finally {
      await quota("disable", "--quota-scope=user");
    }
    await store.putIfAbsent("q/last", new Uint8Array(9));
  });

  for (const daemon of ["rgw", "osd"] as const) {
    await t.step(`nothing is lost when ${daemon} is killed while a volume writes`, async () => {
      await using store = bucket.store(undefined, { answerMs: 3000 });
      using scratch = new Scratch();
      const options = { store, journal: scratch.path, journalSize: "16M" };
      const load = new Load(new Dice(2), BLOCKS);
      const name = `killed-${daemon}`;
      await Volume.create(name, { store, size: SIZE, chunkSize: "64K" });
      {
        await using volume = await Volume.open(name, options);
        for (let round = 0; round < 3; round++) {
          await load.write(volume, 100);
          const synced = volume.sync();
          await pause(20 * round);
          await ceph.kill(daemon);
          await load.write(volume, 50);
          await ceph.start(daemon);
          await synced;
        }
      }
      await using volume = await Volume.open(name, { store, readOnly: true });
      await load.compare(volume);
      assertEquals((await checkVolume(store, name)).findings, []);
    });
  }

  await t.step("a full disk of the store stops nobody, and the store catches up", async () => {
    await using store = bucket.store(undefined, { answerMs: 3000, tryMs: 1000 });
    using scratch = new Scratch();
    const options = { store, journal: scratch.path, journalSize: "16M" };
    const load = new Load(new Dice(3), BLOCKS);
    await Volume.create("full", { store, size: SIZE });
    {
      await using volume = await Volume.open("full", options);
      await load.write(volume, 100);
      await volume.sync();
      await setFull(ceph, 0.00001);
      const end = performance.now() + 60_000;
      let failure: StoreError | undefined = undefined;
      while (failure === undefined && performance.now() < end) {
        failure = await store.putIfAbsent(`f/${crypto.randomUUID()}`, new Uint8Array(99))
          .then(() => undefined, (error) => error);
      }
      assert(
        failure !== undefined && ["unavailable", "full"].includes(failure.fault),
        `${failure}`,
      );
      await load.write(volume, 200);
      await volume.flush();
      const synced = volume.sync();
      await setFull(ceph, 0.95);
      await synced;
    }
    await using volume = await Volume.open("full", { store, readOnly: true });
    await load.compare(volume);
  });

  await t.step("a large object arrives whole through a proxy that fails, and once", async () => {
    await eachSeed(t, SEEDS, async (seed) => {
      const dice = new Dice(seed);
      await using proxy = new Proxy(ceph.endpoint, dice);
      await using store = bucket.store(proxy.endpoint, { answerMs: 10_000, tryMs: 60_000 });
      proxy.faults = () =>
        dice.draw(4) === 0 ? PROXY_FAULTS[dice.draw(PROXY_FAULTS.length)] : undefined;
      const name = `large/${seed}`;
      const bytes = new Uint8Array(20 << 20).fill(seed);
      assert(await store.putIfAbsent(name, bytes) !== undefined);
      assertEquals(await store.putIfAbsent(name, new Uint8Array(20 << 20)), undefined);
      proxy.faults = undefined;
      assert(areEqual((await store.get(name))!.bytes, bytes));
    });
  });

  await t.step("nothing is lost behind a proxy that fails", async () => {
    await eachSeed(t, SEEDS, async (seed) => {
      const dice = new Dice(seed);
      await using proxy = new Proxy(ceph.endpoint, dice);
      await using store = bucket.store(proxy.endpoint, { answerMs: 10_000, tryMs: 30_000 });
      using scratch = new Scratch();
      const options = { store, journal: scratch.path, journalSize: "16M" };
      const load = new Load(dice, BLOCKS);
      const name = `proxied-${seed}`;
      proxy.faults = () =>
        dice.draw(4) === 0 ? PROXY_FAULTS[dice.draw(PROXY_FAULTS.length)] : undefined;
      await Volume.create(name, { store, size: SIZE, chunkSize: "64K" });
      for (let life = 0; life < 3; life++) {
        await using volume = await Volume.open(name, options);
        for (let round = 0; round < 5; round++) {
          await load.write(volume, 40);
          await volume.sync();
        }
      }
      assert(proxy.counts.size >= PROXY_FAULTS.length - 2, `${[...proxy.counts.keys()]}`);
      proxy.faults = undefined;
      await using volume = await Volume.open(name, { store, readOnly: true });
      await load.compare(volume);
      assertEquals((await checkVolume(store, name)).findings, []);
    });
  });
});

async function setFull(ceph: Ceph, ratio: number): Promise<void> {
  const ratios = { nearfull: 0.8, backfillfull: 0.9, full: 1 };
  for (const [name, part] of Object.entries(ratios)) {
    await ceph.run("ceph", "osd", `set-${name}-ratio`, `${ratio * part}`);
  }
}

async function fails(call: () => Promise<unknown>): Promise<StoreError> {
  // The gateway looks at quotas now and then.
  const end = performance.now() + 60_000;
  for (;;) {
    try {
      await call();
    } catch (error) {
      if (error instanceof StoreError) return error;
      throw error;
    }
    assert(performance.now() < end, "nothing fails");
    await pause(200);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
