/**
 * Volumes in S3, against a server in this process that fails as told.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { openStore } from "../store/open.ts";
import { FakeS3 } from "../store/s3/fake_bucket.ts";
import type { FakeFault } from "../store/s3/fake_faults.ts";
import { StoreError } from "../store/store.ts";
import { Scratch } from "../tests/scratch.ts";
import { Dice } from "../uapi/dice.ts";
import { isUblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { checkVolume } from "./check.ts";
import { cloneVolume } from "./clone.ts";
import { flattenVolume } from "./flatten.ts";
import { listVolumes, removeVolume, volumeInfo } from "./list.ts";
import { openDisk, type VolumeDisk } from "./open_disk.ts";
import { Volume } from "./volume.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const BLOCK = 4096;
const credentials = { accessKeyId: "AK", secretAccessKey: "a-secret-of-the-test" };

/** Faults that pass, and that a volume must not notice. */
const PASSING: readonly FakeFault[] = [
  ...["500", "500 after", "503", "429", "reset", "reset after", "short", "flipped"] as const,
];

/** A block that tells its number and its version. */
function block(nth: number, version: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLOCK);
  new Uint32Array(bytes.buffer).fill(nth * 1000 + version);
  return bytes;
}

Deno.test("Volume + lives in S3: created, written, opened again, checked, removed", async () => {
  using scratch = new Scratch();
  await using server = new FakeS3(10);
  await using store = await openStore(server.url, { credentials });
  const options = { store, journal: scratch.path, journalSize: "16M" };
  await Volume.create("v", { store, size: "16M", chunkSize: "64K" });
  {
    await using volume = await Volume.open("v", options);
    for (let nth = 0; nth < 256; nth++) await volume.write(block(nth, 1), nth * BLOCK);
    await volume.sync();
    await volume.write(block(7, 2), 7 * BLOCK);
  }
  assertEquals(await listVolumes(store), ["v"]);
  assert((await volumeInfo(store, "v")).storedBytes >= 256 * BLOCK);
  await using volume = await Volume.open("v", { store, readOnly: true });
  const read = new Uint8Array(BLOCK);
  for (let nth = 0; nth < 256; nth++) {
    await volume.read(read, nth * BLOCK);
    assertEquals(read, block(nth, nth === 7 ? 2 : 1));
  }
  assertEquals((await checkVolume(store, "v")).findings, []);
  await removeVolume(store, "v");
  // By it, whoever still deletes the old one's objects deletes none of another volume of its name.
  assertEquals([...server.objects.keys()], ["some/prefix/v/catalog"]);
});

for (let seed = 1; seed <= 3; seed++) {
  Deno.test(`Volume + notices no fault of S3 that passes (seed ${seed})`, async () => {
    using scratch = new Scratch();
    await using server = new FakeS3(10);
    await using store = await openStore(server.url, { credentials });
    const options = { store, journal: scratch.path, journalSize: "16M" };
    const dice = new Dice(seed);
    server.faults = () => dice.draw(5) === 0 ? PASSING[dice.draw(PASSING.length)] : undefined;
    await Volume.create("v", { store, size: "1M", chunkSize: "64K" });
    const versions = new Array<number>(256).fill(0);
    const read = new Uint8Array(BLOCK);
    for (let life = 1; life <= 3; life++) {
      await using volume = await Volume.open("v", options);
      for (let nth = 0; nth < 256; nth++) {
        await volume.read(read, nth * BLOCK);
        assertEquals(read, versions[nth] === 0 ? new Uint8Array(BLOCK) : block(nth, versions[nth]));
      }
      for (let write = 1; write <= 40; write++) {
        const nth = dice.draw(256);
        versions[nth] = life * 100 + write;
        await volume.write(block(nth, versions[nth]), nth * BLOCK);
        if (write % 10 === 0) await volume.sync();
      }
    }
    server.faults = undefined;
    assertEquals((await checkVolume(store, "v")).findings, []);
  });
}

Deno.test("cloneVolume + over S3, with its faults: cloned, written, flattened, removed", async () => {
  for (const seed of [1, 2]) {
    using scratch = new Scratch();
    await using server = new FakeS3(10);
    await using store = await openStore(server.url, { credentials });
    const options = { store, journal: scratch.path, journalSize: "16M" };
    const dice = new Dice(seed);
    server.faults = () => dice.draw(10) === 0 ? PASSING[dice.draw(PASSING.length)] : undefined;
    await Volume.create("v", { store, size: "1M", chunkSize: "64K" });
    const write = async (name: string, nths: readonly number[], version: number) => {
      await using volume = await Volume.open(name, options);
      for (const nth of nths) await volume.write(block(nth, version), nth * BLOCK);
    };
    const check = async (name: string, versions: readonly number[]) => {
      await using volume = await Volume.open(name, { store, readOnly: true });
      const read = new Uint8Array(BLOCK);
      for (const [nth, version] of versions.entries()) {
        await volume.read(read, nth * BLOCK);
        assertEquals(read, block(nth, version), `${name} ${nth}`);
      }
    };
    await write("v", [0, 1, 2], 1);
    await cloneVolume(store, "v", "a");
    await write("a", [1], 2);
    await cloneVolume(store, "a", "b");
    await write("b", [2], 3);
    await check("b", [1, 2, 3]);
    server.faults = undefined;
    await removeVolume(store, "a");
    await removeVolume(store, "v");
    await check("b", [1, 2, 3]);
    await flattenVolume(store, "b");
    await check("b", [1, 2, 3]);
    assertEquals((await checkVolume(store, "b")).findings, []);
    const left = [...server.objects.keys()].filter((name) => !name.includes("/b/"));
    assertEquals(left.sort(), ["some/prefix/a/catalog", "some/prefix/v/catalog"]);
  }
});

Deno.test("Volume + goes on without its store, which catches up by itself", async () => {
  using scratch = new Scratch();
  await using server = new FakeS3();
  const store = await openStore(server.url, { credentials });
  await Volume.create("v", { store, size: "16M" });
  const lines: string[] = [];
  const options = { store, journal: scratch.path, journalSize: "16M" };
  await using volume = await Volume.open("v", { ...options, report: (line) => lines.push(line) });
  server.faults = () => "reset";
  for (let nth = 0; nth < 256; nth++) await volume.write(block(nth, 1), nth * BLOCK);
  await volume.flush();
  const synced = volume.sync();
  const before = server.log.length;
  while (server.log.length < before + 3) await pause(20);
  await volume.write(block(300, 1), 300 * BLOCK);
  server.faults = undefined;
  await synced;
  assert(volume.stats().lagBytes! <= BLOCK);
  await volume.close();
  await store[Symbol.asyncDispose]();
});

Deno.test("Volume + is refused by a store that ignores conditions, new and old", async () => {
  using scratch = new Scratch();
  await using server = new FakeS3();
  await using store = await openStore(server.url, { credentials });
  await Volume.create("old", { store, size: "1M" });
  const before = new Map(server.objects);
  server.faults = () => "conditions ignored";
  const calls = [
    () => Volume.create("new", { store, size: "1M" }),
    () => Volume.open("old", { store, journal: scratch.path, journalSize: "16M" }),
  ];
  for (const call of calls) {
    const error = await assertRejects(call, StoreError);
    assertEquals(error.fault, "refused");
    assert(error.message.includes("conditional writes"), error.message);
  }
  assertEquals(server.objects, before);
});

Deno.test("a disk + reads and writes a store in S3 through threads of its own", async () => {
  using scratch = new Scratch();
  using _environment = withCredentials();
  await using server = new FakeS3();
  await Volume.create("v", { store: server.url, size: "16M", chunkSize: "64K" });
  const options: VolumeDisk = {
    ...{ name: "v", store: server.url, journal: scratch.path, journalBytes: 16 << 20 },
    ...{
      withoutJournal: false,
      force: false,
      leaseMs: 1000,
      whenFull: "wait",
      durability: "local",
      readOnly: false,
    },
  };
  {
    const disk = await openDisk(options);
    for (let nth = 0; nth < 64; nth++) {
      await disk.writeAt!(block(nth, 1), nth * BLOCK, { fua: false });
    }
    await disk.close!();
  }
  for (const readOnly of [false, true]) {
    const cache = { path: `${scratch.path}/cache-${readOnly}`, size: 4 << 20 };
    for (const terms of readOnly ? [{}] : [{}, { cache }, { cache }]) {
      const disk = await openDisk({ ...options, ...terms, readOnly });
      const read = new Uint8Array(BLOCK);
      for (let nth = 0; nth < 64; nth++) {
        await disk.readAt!(read, nth * BLOCK);
        assertEquals(read, block(nth, 1));
      }
      await disk.close!();
    }
  }
});

Deno.test("a disk + whose store refuses says so in one line without secrets", async () => {
  using scratch = new Scratch();
  using _environment = withCredentials();
  await using server = new FakeS3();
  await Volume.create("v", { store: server.url, size: "1M" });
  for (const readOnly of [false, true]) {
    server.faults = () => "wrong key";
    const disk = openDisk({
      ...{ name: "v", store: server.url, journal: scratch.path, journalBytes: 16 << 20, readOnly },
      ...{
        withoutJournal: false,
        force: false,
        leaseMs: 1000,
        whenFull: "wait",
        durability: "local",
      },
    });
    const error = await assertRejects(() => disk);
    assert(isUblkError(error) && error.code === "VOLUME_STORE", `${error}`);
    assert(error.message.includes("SignatureDoesNotMatch; check the secret key"), error.message);
    assert(!error.message.includes(credentials.secretAccessKey), error.message);
  }
});

/** Puts the credentials into the environment. */
function withCredentials(): Disposable {
  const variables = {
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const [name, value] of before) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
