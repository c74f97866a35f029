/**
 * The store in S3, and volumes in it, against a real one: Ceph's gateway in a chroot. It is killed, full,
 * and behind a proxy that fails.
 *
 * ```sh
 * deno task volume-s3 -- --seeds 20
 * ```
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { checkStoreConformance } from "../../store/conformance.ts";
import { S3Store } from "../../store/s3/store.ts";
import { StoreError } from "../../store/store.ts";
import { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Ceph, CEPH_KEYS } from "../../vm/ceph.ts";
import { checkVolume } from "../../volume/check.ts";
import { openDisk } from "../../volume/open_disk.ts";
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

Deno.test("a store in Ceph", async (t) => {
  await using ceph = await Ceph.start();
  const bucket = await Bucket.make(ceph, "bucket");

  await t.step("conforms, and knows conditions", async () => {
    await using store = bucket.store();
    await store.verify();
    await checkStoreConformance(() => Promise.resolve(bucket.store()));
  });

  await t.step("of many that race for a name or a version one wins", async () => {
    const stores = Array.from({ length: 8 }, () => bucket.store());
    for (let round = 0; round < 25; round++) {
      const name = `race/${round}`;
      const bodies = stores.map((_, nth) => new TextEncoder().encode(`${round} ${nth}`));
      const put = await Promise.all(
        stores.map((store, nth) => store.putIfAbsent(name, bodies[nth])),
      );
      const won = put.findIndex((version) => version !== undefined);
      assertEquals(put.filter((version) => version !== undefined).length, 1, `put ${round}`);
      assertEquals((await stores[0].get(name))?.bytes, bodies[won]);
      // Others than before: equal bytes have equal versions.
      const others = bodies.map((bytes) => new Uint8Array([...bytes, 33]));
      const next = await Promise.all(
        stores.map((store, nth) => store.replace(name, others[nth], put[won]!)),
      );
      assertEquals(next.filter((version) => version !== undefined).length, 1, `replace ${round}`);
    }
    for (const store of stores) await store[Symbol.asyncDispose]();
  });

  await t.step("refuses in one line", async () => {
    const refused = async (store: S3Store, words: string) => {
      await using opened = store;
      const error = await assertRejects(() => opened.get("a"), StoreError);
      assertEquals(error.fault, "refused");
      assert(error.message.includes(words), error.message);
    };
    const { accessKeyId, secretAccessKey } = CEPH_KEYS;
    const wrong = { credentials: { accessKeyId, secretAccessKey: "wrong" } };
    await refused(bucket.store(undefined, wrong), "SignatureDoesNotMatch; check the secret key");
    const unknown = { credentials: { accessKeyId: "wrong", secretAccessKey } };
    await refused(bucket.store(undefined, unknown), "InvalidAccessKeyId; give a key");
    const missing = S3Store.open(bucket.url().replace("bucket", "no-bucket"), {
      credentials: CEPH_KEYS,
    });
    await refused(missing, "NoSuchBucket; make the bucket");
  });

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

  await t.step("a volume lives in it, and as a disk too", async () => {
    await using store = bucket.store();
    using scratch = new Scratch();
    const options = { store, journal: scratch.path, journalSize: "16M" };
    const load = new Load(new Dice(1), BLOCKS);
    await Volume.create("plain", { store, size: SIZE, chunkSize: "256K" });
    {
      await using volume = await Volume.open("plain", options);
      await load.write(volume, 500);
      await volume.sync();
      await load.write(volume, 500);
    }
    await using volume = await Volume.open("plain", { store, readOnly: true });
    await load.compare(volume);
    assertEquals((await checkVolume(store, "plain")).findings, []);
    using _environment = withKeys();
    const disk = await openDisk({
      ...{ name: "plain", store: bucket.url(), journal: scratch.path, journalBytes: 16 << 20 },
      ...{
        withoutJournal: false,
        force: false,
        leaseMs: 45_000,
        whenFull: "wait",
        durability: "store",
        readOnly: false,
      },
    });
    const [written, read] = [new Uint8Array(8192).fill(7), new Uint8Array(8192)];
    await disk.writeAt(written, 8192, { fua: true });
    await disk.flush!();
    await disk.close!();
    await using after = await Volume.open("plain", { store, readOnly: true });
    await after.read(read, 8192);
    assertEquals(read, written);
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

  await t.step("nothing is lost behind a proxy that fails", async () => {
    await eachSeed(t, SEEDS, async (seed) => {
      const dice = new Dice(seed);
      await using proxy = new Proxy(ceph.endpoint, dice);
      await using store = bucket.store(proxy.endpoint, { answerMs: 2000, tryMs: 30_000 });
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

/** Puts the keys into the environment. */
function withKeys(): Disposable {
  Deno.env.set("AWS_ACCESS_KEY_ID", CEPH_KEYS.accessKeyId);
  Deno.env.set("AWS_SECRET_ACCESS_KEY", CEPH_KEYS.secretAccessKey);
  return {
    [Symbol.dispose]() {
      Deno.env.delete("AWS_ACCESS_KEY_ID");
      Deno.env.delete("AWS_SECRET_ACCESS_KEY");
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
