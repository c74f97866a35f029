import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { testLibc } from "../tests/libc.ts";
import { inFolder } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { cloneVolume } from "../volume/clone.ts";
import { openCipher } from "../volume/seal/gcm.ts";
import { createSnapshot } from "../volume/snapshots.ts";
import { Volume } from "../volume/volume.ts";
import { open, target, volume, type VolumeDiskOptions } from "./volume.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const PR_GET_DUMPABLE = 3;
const BLOCK = 4096;
const WORDS = new TextEncoder().encode("words that nobody else may read: ");

const opened = (name: string, options: VolumeDiskOptions) => open(volume(name, options).options);

function words(blocks: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: blocks * BLOCK }, (_, at) => WORDS[at % WORDS.length]);
}

function* filesIn(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* filesIn(`${folder}/${name}`);
    else yield `${folder}/${name}`;
  }
}

Deno.test("an encrypted volume as a disk + its threads share the data key, and nothing lies anywhere", async () => {
  await inFolder(async ({ folder, store, journal, journalSize }) => {
    const key = { keyFile: `${folder}/key` };
    Deno.writeFileSync(key.keyFile, crypto.getRandomValues(new Uint8Array(32)));
    await Volume.create("v", { store, size: "64M", key });
    const options = { store, journal, journalSize, key };
    const data = words(768);
    {
      const disk = await opened("v", options);
      await disk.writeAt(data, BLOCK, { fua: true });
      const found = new Uint8Array(data.length);
      await disk.readAt(found, BLOCK);
      assertEquals(found, data);
      // More than the journal holds, so that the drain brings it to the store meanwhile.
      for (let round = 0; round < 8; round++) {
        await disk.writeAt(data, 4096 * BLOCK + round * data.length, { fua: false });
      }
      await disk.close!();
    }
    await createSnapshot(store, "v", "s");
    const cached = { ...options, cache: "8M", cacheDir: `${folder}/caches` };
    for (
      const [name, how] of [["v", cached], ["v", cached], ["v@s", {
        ...options,
        readOnly: true,
      }]] as const
    ) {
      const disk = await opened(name, how);
      const found = new Uint8Array(data.length);
      await disk.readAt(found, 4096 * BLOCK + 7 * data.length);
      assertEquals(found, data);
      await disk.close!();
    }
    const part = WORDS.slice(0, 16).toHex();
    const paths = [...filesIn(folder)];
    assert(paths.some((path) => path.endsWith("/caches/v/cache")));
    for (const path of paths) assert(!Deno.readFileSync(path).toHex().includes(part), path);
    assertEquals(testLibc.prctlNumbers(PR_GET_DUMPABLE, 0n, 0n, 0n, 0n), 0);
  }, { onDisk: true });
});

Deno.test("an encrypted volume as a disk + the wrong key or none is one line, and makes no journal", async () => {
  await inFolder(async ({ folder, store, journal, journalSize }) => {
    const key = { keyFile: `${folder}/key` };
    Deno.writeFileSync(key.keyFile, new Uint8Array(32).fill(1));
    await Volume.create("v", { store, size: "4M", key });
    Deno.writeFileSync(key.keyFile, new Uint8Array(32).fill(2));
    for (const readOnly of [false, true]) {
      for (const given of [undefined, key]) {
        const options = { store, journal, journalSize, key: given, readOnly };
        const error = await assertRejects(() => opened("v", options), UblkError);
        assertEquals([error.code, error.message.includes("\n")], ["VOLUME_KEY", false]);
      }
    }
    assertThrows(() => Deno.statSync(journal), Deno.errors.NotFound);
    const relative = { store, journal, key: { keyFile: "key" } };
    assertThrows(() => volume("v", relative), UblkError, "no absolute path");
    const both = { name: "v", "key-file": "/a", "passphrase-file": "/b" };
    assertThrows(() => target.spec(both, []), UblkError, "a key and a passphrase");
    // Only the path is in what is recorded.
    const { options } = volume("v", { store, journal, key });
    assertEquals((options as VolumeDiskOptions).key, key);
  });
});

Deno.test("the disk of an encrypted clone + reads what it shares in place, and through a cache and its thread", async () => {
  await inFolder(async ({ folder, store, journal, journalSize }) => {
    const key = { keyFile: `${folder}/key` };
    Deno.writeFileSync(key.keyFile, crypto.getRandomValues(new Uint8Array(32)));
    await Volume.create("v", { store, size: "4M", key });
    {
      await using volume = await Volume.open("v", { store, journal, journalSize, key });
      await volume.write(words(4), 0);
    }
    await cloneVolume(store, "v", "a", { key });
    await cloneVolume(store, "a", "b", { key });
    const own = new Uint8Array(BLOCK).fill(2);
    const wanted = words(4);
    wanted.set(own, BLOCK);
    for (const cache of [undefined, "8M"]) {
      const writing = await opened("b", { store, journal, journalSize, cache, key });
      await writing.writeAt(own, BLOCK, { fua: false });
      await writing.close!();
      for (const readOnly of [false, true]) {
        const disk = await opened("b", { store, journal, journalSize, cache, key, readOnly });
        const found = new Uint8Array(4 * BLOCK);
        await disk.readAt(found, 0);
        assertEquals(found, wanted);
        await disk.close!();
      }
    }
  }, { onDisk: true });
});
