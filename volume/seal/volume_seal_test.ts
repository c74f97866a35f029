/**
 * Encrypted volumes as a whole: what lies where, which keys open them, and what a forged or swapped
 * object does to whoever reads.
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { openStore } from "../../store/open.ts";
import type { Store } from "../../store/store.ts";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { copyVolume } from "../care/copy.ts";
import { repairVolume } from "../care/repair.ts";
import { checkVolume } from "../check.ts";
import { volumeInfo } from "../list.ts";
import { resizeVolume } from "../resize.ts";
import { rollbackVolume } from "../rollback.ts";
import { createSnapshot } from "../snapshots.ts";
import { collectVolume } from "../space/collect_volume.ts";
import { Volume } from "../volume.ts";
import { openCipher } from "./gcm.ts";
import { rekeyVolume, unlocked } from "./unlock.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const BLOCK = 4096;
const KEY = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);
const TEXT = "a secret that lies nowhere as it is; ";

function secret(blocks: number): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(TEXT);
  return Uint8Array.from({ length: blocks * BLOCK }, (_, at) => bytes[at % bytes.length]);
}

async function readAt(volume: Volume, offset: number, length = BLOCK) {
  const bytes = new Uint8Array(length);
  await volume.read(bytes, offset);
  return bytes;
}

/** A volume with a chunk, a snapshot of it, and blocks that only the journal has. */
async function made({ store, journal, journalSize }: VolumeFolders, key = KEY): Promise<void> {
  await Volume.create("v", { store, size: "16M", key });
  const volume = await Volume.open("v", { store, journal, journalSize, key });
  await volume.write(secret(8), 0);
  await volume.sync();
  await createSnapshot(store, "v", "s");
  await volume.write(secret(4), 32 * BLOCK);
  await volume.close();
}

function* filesIn(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* filesIn(`${folder}/${name}`);
    else yield `${folder}/${name}`;
  }
}

/** The bytes of all files of a folder, by name. */
function stateOf(folder: string): Map<string, string> {
  return new Map([...filesIn(folder)].map((path) => [path, Deno.readFileSync(path).toHex()]));
}

async function rejected(call: () => Promise<unknown>, code: string, words: string): Promise<void> {
  const error = await assertRejects(call, UblkError, words);
  assertEquals([error.code, error.message.includes("\n")], [code, false]);
}

Deno.test("an encrypted volume + reads what was written, and neither store, journal nor cache has it", async () => {
  await inFolder(async (at) => {
    const { folder, store, journal, journalSize } = at;
    await Volume.create("v", { store, size: "16M", key: KEY });
    const options = { store, journal, journalSize, key: KEY };
    const data = secret(300);
    {
      await using volume = await Volume.open("v", options);
      await volume.write(data, 0);
      assertEquals(await readAt(volume, 0, data.length), data);
      await volume.sync();
      await volume.write(data.subarray(0, BLOCK), 512 * BLOCK);
      await volume.flush();
      assertEquals(await readAt(volume, 0, data.length), data);
    }
    for (const cache of [undefined, "8M"]) {
      const reading = { ...options, cache, cacheDir: cache && `${folder}/cache`, readOnly: true };
      for (let time = 0; time < 2; time++) {
        await using volume = await Volume.open("v", reading);
        assertEquals(await readAt(volume, 0, data.length), data);
        assertEquals(await readAt(volume, 512 * BLOCK), data.subarray(0, BLOCK));
      }
    }
    const part = new TextEncoder().encode(TEXT.slice(0, 16)).toHex();
    const state = stateOf(folder);
    assert([...state.keys()].some((path) => path.endsWith("/cache")));
    for (const [path, hex] of state) assert(!hex.includes(part), `${path} has it as it is`);
  });
});

Deno.test("an encrypted volume + in a store that is no folder, and without the library, is the same", async () => {
  await inFolder(async ({ journal, journalSize }) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: "16M", key: KEY });
    const options = { store, journal, journalSize, key: KEY };
    for (const isThere of [true, false, true]) {
      openCipher(isThere);
      await using volume = await Volume.open("v", options);
      if (isThere) await volume.write(secret(40), 0);
      await volume.sync();
      await using reader = await Volume.open("v", { store, key: KEY, readOnly: true });
      assertEquals(await readAt(reader, 0, 40 * BLOCK), secret(40));
    }
  });
});

Deno.test("the wrong key, or none, or one too many + is one line, and touches nothing", async () => {
  await inFolder(async (at) => {
    await made(at);
    const { folder, store, journal, journalSize } = at;
    await Volume.create("plain", { store, size: "1M" });
    const before = stateOf(folder);
    const writing = { store, journal, journalSize };
    for (const options of [writing, { store, readOnly: true }]) {
      await rejected(
        () => Volume.open("v", options),
        "VOLUME_KEY",
        "it is encrypted; give its key",
      );
      const wrong = { ...options, key: OTHER };
      await rejected(() => Volume.open("v", wrong), "VOLUME_KEY", "the key does not open it");
      await rejected(() => Volume.open("plain", wrong), "VOLUME_KEY", "it is not encrypted");
    }
    const none = { store, size: "1M", key: { keyFile: `${folder}/none` } };
    await rejected(() => Volume.create("w", none), "INVALID_ARGUMENT", "it cannot be read");
    // Whoever forgets `unlocked` changes nothing either.
    await using raw = await openStore(store);
    const encrypted = "encrypted";
    await rejected(() => resizeVolume(raw, "v", 32 << 20), "VOLUME_KEY", encrypted);
    await rejected(() => rollbackVolume(raw, "v", "s"), "VOLUME_KEY", encrypted);
    await rejected(() => collectVolume(raw, "v"), "VOLUME_KEY", encrypted);
    await rejected(() => repairVolume(raw, "v"), "VOLUME_KEY", encrypted);
    await rejected(() => unlocked(raw, "v", OTHER), "VOLUME_KEY", "does not open");
    await rejected(() => rekeyVolume(raw, "v", OTHER, OTHER), "VOLUME_KEY", "does not open");
    await rejected(() => rekeyVolume(raw, "plain", KEY, OTHER), "VOLUME_KEY", "not encrypted");
    const after = stateOf(folder);
    for (const path of after.keys()) if (path.includes("/.tmp/")) after.delete(path);
    assertEquals([...after.keys()].sort(), [...before.keys()].sort());
    for (const [path, hex] of before) assertEquals(after.get(path), hex, path);
  });
});

Deno.test("what needs no data of an encrypted volume + needs no key", async () => {
  await inFolder(async (at) => {
    await made(at);
    const { size, encrypted, mappedBytes } = await volumeInfo(at.store, "v");
    assertEquals([size, encrypted, mappedBytes], [16 << 20, true, undefined]);
    await createSnapshot(at.store, "v", "t");
    await using store = await openStore(at.store);
    const opened = await volumeInfo(await unlocked(store, "v", KEY), "v");
    assertEquals([opened.mappedBytes, opened.snapshots], [12 * BLOCK, 2]);
  });
});

Deno.test("an encrypted volume + is checked, resized, rolled back, collected, copied and repaired", async () => {
  await inFolder(async (at) => {
    await made(at);
    const { folder, journal, journalSize } = at;
    await using inner = await openStore(at.store);
    const store = await unlocked(inner, "v", KEY);
    const sound = async (checked: Store, name = "v") =>
      assertEquals((await checkVolume(checked, name, { journal })).findings, []);
    await sound(store);
    await resizeVolume(store, "v", 32 << 20);
    await rollbackVolume(store, "v", "s");
    await collectVolume(store, "v");
    await sound(store);
    // A second copy finds everything there.
    await using target = await openStore(`${folder}/other`, { create: true });
    const copied = await copyVolume(store, "v", target, { as: "w" });
    assert(copied.copiedBytes > 8 * BLOCK);
    await sound(await unlocked(target, "w", KEY), "w");
    {
      await using volume = await Volume.open("w", { store: target, key: KEY, readOnly: true });
      assertEquals(await readAt(volume, 0, 8 * BLOCK), secret(8));
    }
    await Deno.remove(`${at.store}/v/head`);
    await rejected(() => repairVolume(inner, "v"), "VOLUME_KEY", "encrypted");
    const repaired = await repairVolume(await unlocked(inner, "v", KEY), "v");
    assert(repaired.repaired);
    await sound(store);
    await using volume = await Volume.open("v", {
      store: at.store,
      journal,
      journalSize,
      key: KEY,
    });
    assertEquals(await readAt(volume, 0, 8 * BLOCK), secret(8));
  });
});

Deno.test("rekeyVolume + the new key opens it and the old one does not, while it is attached", async () => {
  await inFolder(async (at) => {
    await made(at);
    const { store, journal, journalSize } = at;
    const options = { store, journal, journalSize };
    {
      await using volume = await Volume.open("v", { ...options, key: KEY });
      await volume.write(secret(1), BLOCK);
      await rekeyVolume(store, "v", KEY, OTHER);
      await volume.write(secret(1), 64 * BLOCK);
      await volume.sync();
    }
    await rejected(() => Volume.open("v", { ...options, key: KEY }), "VOLUME_KEY", "does not open");
    // Once more, as after an answer that was lost: it has that key already.
    await rekeyVolume(store, "v", KEY, OTHER);
    await using volume = await Volume.open("v", { ...options, key: OTHER });
    assertEquals(await readAt(volume, 64 * BLOCK), secret(1));
  });
});

Deno.test("rekeyVolume + a call that is cut off anywhere leaves the old key or the new one", async () => {
  for (const fault of ["unavailable", "lost answer", "lost race", "late"] as const) {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "1M", key: KEY });
    let calls = 0;
    store.faults = ({ name }) => name === "replace" && calls++ === 0 ? fault : undefined;
    await rekeyVolume(store, "v", KEY, OTHER);
    store.faults = undefined;
    await store.arrive();
    const opens = async (key: Uint8Array<ArrayBuffer>) => {
      try {
        await unlocked(store, "v", key);
        return true;
      } catch (error) {
        assert(error instanceof UblkError && error.code === "VOLUME_KEY", `${error}`);
        return false;
      }
    };
    assertEquals([await opens(KEY), await opens(OTHER)], [false, true], fault);
    // Of one whose caller has died before or after, the data key is the same.
    store.faults = ({ name }) => name === "replace" ? "full" : undefined;
    await assertRejects(() => rekeyVolume(store, "v", OTHER, KEY));
    store.faults = undefined;
    assertEquals([await opens(KEY), await opens(OTHER)], [false, true], fault);
  }
});

Deno.test("a chunk that was swapped for another, or replaced + reads as EIO with a line, and check finds it", async () => {
  await inFolder(async (at) => {
    const { store, journal, journalSize } = at;
    await Volume.create("v", { store, size: "16M", key: KEY });
    for (let nth = 0; nth < 2; nth++) {
      await using volume = await Volume.open("v", { store, journal, journalSize, key: KEY });
      await volume.write(secret(2), nth * 8 * BLOCK);
    }
    const [one, two] = [1, 2].map((number) => `${store}/v/chunks/${`${number}`.padStart(16, "0")}`);
    const bytes = Deno.readFileSync(one);
    const dataAt = new DataView(bytes.buffer).getUint32(76, true);
    // Block 1 in the place of block 0, with a sum that fits: only the seal knows better.
    const forged = bytes.slice();
    forged.copyWithin(dataAt, dataAt + BLOCK, dataAt + 2 * BLOCK);
    const { crc32 } = await import("node:zlib");
    const blocks = new DataView(forged.buffer).getUint32(72, true);
    const sumsAt = 128 + 48 + 32 + blocks * (4 + 16);
    const view = new DataView(forged.buffer);
    view.setUint32(sumsAt, crc32(forged.subarray(dataAt, dataAt + BLOCK)) >>> 0, true);
    view.setUint32(12, 0, true);
    view.setUint32(12, crc32(forged.subarray(0, dataAt)) >>> 0, true);
    const cases: [Uint8Array<ArrayBuffer>, RegExp][] = [
      [Deno.readFileSync(two), /chunks\/0+1: .*key does not open it/],
      [forged, /v\/chunks\/0{15}1: the block at byte \d+: the volume's key does not open it/],
    ];
    for (const [other, words] of cases) {
      Deno.writeFileSync(one, other);
      for (const cache of [undefined, "1M"]) {
        const lines: string[] = [];
        const report = (line: string) => void lines.push(line);
        const options = { store, key: KEY, readOnly: true, report };
        const cached = cache === undefined ? {} : { cache, cacheDir: `${at.folder}/cache` };
        await using volume = await Volume.open("v", { ...options, ...cached });
        await rejected(() => readAt(volume, 0), "SYSCALL_FAILED", "EIO");
        await Promise.resolve();
        assertEquals(lines.length, 1);
        if (cache === undefined) assertMatch(lines[0], words);
        assertMatch(lines[0], /key does not open it|it is chunk 2/);
        assertEquals(await readAt(volume, 8 * BLOCK), secret(1));
      }
      await using inner = await openStore(store);
      const { findings } = await checkVolume(await unlocked(inner, "v", KEY), "v");
      assertEquals(findings.map(({ object }) => object), ["v/chunks/0000000000000001"]);
      Deno.writeFileSync(one, bytes);
    }
  });
});

Deno.test("a batch of the journal that was forged + is not believed: the volume does not open", async () => {
  await inFolder(async (at) => {
    const { store, journal, journalSize } = at;
    await Volume.create("v", { store, size: "16M", key: KEY });
    const options = { store, journal, journalSize, key: KEY };
    const volume = await Volume.open("v", options);
    await volume.write(secret(1), 0);
    await volume.flush();
    // What only the journal has: a copy of it, as it is now.
    const file = `${journal}/v/journal-0000`;
    const bytes = Deno.readFileSync(file);
    const id = Deno.readFileSync(`${journal}/v/journal-id`);
    const head = Deno.readFileSync(`${store}/v/head`);
    await volume.close();
    const { crc32 } = await import("node:zlib");
    const batch = 4096;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const length = view.getUint32(batch + 8, true);
    bytes[batch + 80] ^= 1;
    view.setUint32(batch + 4, 0, true);
    view.setUint32(batch + 4, crc32(bytes.subarray(batch, batch + length)) >>> 0, true);
    Deno.writeFileSync(file, bytes);
    Deno.writeFileSync(`${journal}/v/journal-id`, id);
    Deno.writeFileSync(`${store}/v/head`, head);
    await rejected(() => Volume.open("v", options), "VOLUME_DAMAGED", "does not open batch 1");
    await using inner = await openStore(store);
    const { findings } = await checkVolume(await unlocked(inner, "v", KEY), "v", { journal });
    assertMatch(findings[0].words, /does not open batch 1/);
  });
});
