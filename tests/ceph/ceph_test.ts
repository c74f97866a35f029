/**
 * The store in S3, and volumes in it, against a real one: Ceph's gateway in a chroot. This is the short
 * list, which `deno task test` runs too, with fewer races.
 *
 * ```sh
 * deno test -A tests/ceph/ceph_test.ts -- --seeds 12
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
import { areEqual } from "../../volume/state.ts";
import { openDisk } from "../../volume/open_disk.ts";
import { Volume } from "../../volume/volume.ts";
import { Scratch } from "../scratch.ts";
import { Bucket } from "./_bucket.ts";
import { Load } from "./_load.ts";
import { twoMachines } from "./_machines.ts";
import { races } from "./_races.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const BLOCKS = 1024;
const SIZE = BLOCKS * 4096;

Deno.test("volumes in Ceph", async (t) => {
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

  await t.step("a deletion keeps its condition", async () => {
    await using store = bucket.store();
    using client = bucket.client();
    const version = (await store.putIfAbsent("deleted", new Uint8Array([1])))!;
    // By single requests: the store looks before it sends any.
    const remove = async (tag: string) => {
      const headers = { "if-match": tag };
      const request = {
        method: "DELETE",
        key: "volumes/deleted",
        where: "delete",
        headers,
      } as const;
      return (await client.send(request)).status;
    };
    assertEquals(await remove('"0123456789abcdef0123456789abcdef"'), 412);
    assertEquals((await store.get("deleted"))?.version, version);
    assertEquals(await remove(version), 204);
    assertEquals(await store.get("deleted"), undefined);
  });

  await t.step("a large object goes in parts, by its condition", async () => {
    await using store = bucket.store();
    const [first, second] = [1, 2].map((value) => new Uint8Array(20 << 20).fill(value));
    const version = await store.putIfAbsent("large", first);
    assert(/-3"$/.test(version!), `${version} is of three parts`);
    assertEquals(await store.putIfAbsent("large", second), undefined);
    assertEquals(await store.replace("large", second, '"another"'), undefined);
    const found = await store.get("large");
    assertEquals([found!.version, areEqual(found!.bytes, first)], [version, true]);
    assert(await store.replace("large", second, version!) !== undefined);
    assert(areEqual((await store.get("large"))!.bytes, second));
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

  await t.step("two processes race for a volume, and wake up late", () => races(t, ceph));
  await t.step("two machines", (step) => twoMachines(step, ceph));
});

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
