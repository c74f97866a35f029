/**
 * Every byte of every format that means something: a bit of it flips, and `checkVolume` names the
 * object and the place; whoever opens and reads gets an error or what was written.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CrashableProcess } from "../files/crashable.ts";
import { Contents } from "../files/crashable_contents.ts";
import { CrashableMachine } from "../files/crashable_machine.ts";
import { DirectoryStore } from "../store/directory.ts";
import type { Store } from "../store/store.ts";
import { flipIn } from "../tests/volumes/flips.ts";
import { isUblkError, UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import type { Compression } from "./format/compression.ts";
import { checkVolume } from "./check.ts";
import { openCipher } from "./seal/gcm.ts";
import { unlocked } from "./seal/unlock.ts";
import { createSnapshot } from "./snapshots.ts";
import { Volume } from "./volume.ts";

// They stay open for the life of the process, which is no leak of the test that opens them first.
openAllOfLibc();
openCipher();

const BLOCK = 512;
const BLOCKS = 64;
const CHUNKS = "v/chunks/0000000000000001";
const RUN = "v/maps/0000000000000001";
/** Each test is done with a volume that is encrypted, and one that is not. */
const KEYS = [undefined, new Uint8Array(32).fill(1)];
/** The byte that each block is filled with. */
const FILLS = [0, 7, 8, 0, 9];
/** Those that the journal has changed since: block and byte, a batch each. */
const NEWER = [[10, 20], [11, 21], [12, 22]];

type Key = Uint8Array<ArrayBuffer> | undefined;

/** How objects lie in the store. */
const FORMS = KEYS.flatMap((key) =>
  (["none", "zstd"] as const).map((compress) => ({
    ...{ key, compress },
    words: `${key === undefined ? "plain" : "encrypted"}${
      compress === "zstd" ? ", compressed" : ""
    }`,
  }))
);

/** A machine with a volume that has two chunks' worth of frames, and a journal of three batches. */
async function made(key: Key, compress: Compression = "none"): Promise<CrashableMachine> {
  const machine = new CrashableMachine(1);
  const files = new CrashableProcess(machine);
  const store = await DirectoryStore.open("/store", { files, create: true });
  await Volume.create("v", {
    store,
    size: BLOCKS * BLOCK,
    blockSize: BLOCK,
    chunkSize: "64K",
    ...{ key, compress },
  });
  const sizes = { batchData: 16 << 10, batches: 3, openChunks: 4 };
  const options = { store, files, sizes, journal: "/journal", journalSize: "256K", key };
  const volume = await Volume.open("v", { ...options, patienceMs: 50 });
  const write = (block: number, byte: number) =>
    volume.write(new Uint8Array(BLOCK).fill(byte), block * BLOCK);
  for (const [block, fill] of FILLS.entries()) if (fill > 0) await write(block, fill);
  await volume.sync();
  await createSnapshot(store, "v", "s");
  for (const [block, byte] of NEWER) {
    await write(block, byte);
    await volume.flush();
  }
  machine.kill();
  await volume.close().catch(() => {});
  return machine;
}

function contentsOf(machine: CrashableMachine, path: string): Contents {
  const found = machine.names.find(path);
  assert(found instanceof Contents, `${path} is a file`);
  return found;
}

function bytesOf(contents: Contents): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(contents.bytes);
  contents.read(bytes, 0);
  return bytes;
}

/** Flips a bit of each of these bytes, one at a time. */
async function flipEach(
  machine: CrashableMachine,
  path: string,
  offsets: Iterable<number>,
  look: (store: Store, files: CrashableProcess, offset: number) => Promise<void>,
): Promise<void> {
  const contents = contentsOf(machine, path);
  for (const offset of offsets) {
    const bit = 1 << offset % 8;
    flipIn(contents, offset, bit);
    const files = new CrashableProcess(machine);
    await using store = await DirectoryStore.open("/store", { files });
    try {
      await look(store, files, offset);
    } catch (error) {
      throw new Error(`bit ${bit} of byte ${offset} of ${path}: ${error}`, { cause: error });
    }
    flipIn(contents, offset, bit);
    // Otherwise the simulation remembers every temporary file that the catalog was put with.
    files.syncFolder("/store/.tmp");
  }
}

/** Reads the volume as its store has it. */
async function readAll(store: Store, files: CrashableProcess, key: Key): Promise<void> {
  try {
    await using volume = await Volume.open("v", { store, files, readOnly: true, key });
    for (const [block, fill] of FILLS.entries()) {
      const found = new Uint8Array(BLOCK).fill(0xee);
      try {
        await volume.read(found, block * BLOCK);
      } catch (error) {
        assert(isUblkError(error) && error.code === "SYSCALL_FAILED", `${error}`);
        continue;
      }
      assert(found.every((byte) => byte === fill), `block ${block} reads as something else`);
    }
  } catch (error) {
    assert(isUblkError(error) && error.code === "VOLUME_DAMAGED", `${error}`);
  }
}

/** Whoever reads a damaged block is told the object and the byte, with a cache and without one. */
async function saysWhere(
  machine: CrashableMachine,
  key: Key,
  dataAt: number,
  where = ": the block at byte ",
): Promise<void> {
  await flipEach(machine, `/store/${CHUNKS}`, [dataAt + 1], async (store, files) => {
    new CrashableProcess(machine).makeFolder("/cache");
    for (const cached of [{}, { cache: "1M", cacheDir: "/cache" }]) {
      const lines: string[] = [];
      const report = (line: string) => void lines.push(line);
      const options = { store, files, readOnly: true, key, report, ...cached };
      await using volume = await Volume.open("v", options);
      await assertRejects(() => volume.read(new Uint8Array(BLOCK), BLOCK), UblkError);
      await Promise.resolve();
      const hasCache = "cache" in cached;
      const [line] = lines;
      assert(line?.startsWith(CHUNKS), line);
      assertMatch(line, hasCache ? / from \d+ on| at offset \d+/ : new RegExp(`${where}${dataAt}`));
    }
  });
}

function* range(from: number, to: number): Generator<number> {
  for (let at = from; at < to; at++) yield at;
}

for (const { key, compress, words } of FORMS) {
  Deno.test(`a flipped bit + ${words}, any byte of head, manifest, run and chunk table is found and named`, async () => {
    const machine = await made(key, compress);
    const head = bytesOf(contentsOf(machine, "/store/v/head"));
    const number = new DataView(head.buffer).getBigUint64(56, true).toString(16).padStart(16, "0");
    const chunk = bytesOf(contentsOf(machine, `/store/${CHUNKS}`));
    const dataAt = new DataView(chunk.buffer).getUint32(76, true);
    const objects: [string, number][] = [
      [`v/manifests/${number}`, Infinity],
      [CHUNKS, dataAt],
    ];
    // No other object is compressed, or says that others are.
    if (compress === "none") {
      objects.push(["v/head", head.length], ["v/catalog", Infinity], [RUN, Infinity]);
    }
    for (const [object, most] of objects) {
      const { bytes } = contentsOf(machine, `/store/${object}`);
      let last = Math.min(bytes, most);
      // Of the zeroes before the data, some are enough.
      if (object === CHUNKS) last = Math.min(last, 512);
      await flipEach(machine, `/store/${object}`, range(0, last), async (store, files, offset) => {
        const { findings } = await checkVolume(await unlocked(store, "v", key), "v", { files });
        assertEquals(findings.map((finding) => finding.object), [object]);
        if (object === CHUNKS) assertEquals(findings[0].offset, 0);
        if (offset % 8 === 0) await readAll(store, files, key);
      });
    }
  });

  Deno.test(`a flipped bit + ${words}, a chunk's data is found with its offset, and reads as EIO`, async () => {
    const machine = await made(key, compress);
    const chunk = bytesOf(contentsOf(machine, `/store/${CHUNKS}`));
    const dataAt = new DataView(chunk.buffer).getUint32(76, true);
    if (compress === "zstd") {
      assert(chunk.length < dataAt + BLOCK);
      // A piece is there as a whole, or not at all; the offsets are those of the plain form.
      const blocks = [0, 1, 2].map((nth) => [CHUNKS, 4096 + nth * BLOCK]);
      const data = range(dataAt, chunk.length);
      await saysWhere(machine, key, dataAt, `: the ${chunk.length - dataAt} bytes at offset `);
      return await flipEach(machine, `/store/${CHUNKS}`, data, async (store, files) => {
        const { findings } = await checkVolume(await unlocked(store, "v", key), "v", { files });
        assertEquals(findings.map((finding) => [finding.object, finding.offset]), blocks);
        await readAll(store, files, key);
      });
    }
    assertEquals(chunk.length, dataAt + 3 * BLOCK);
    await saysWhere(machine, key, dataAt);
    const offsets = [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 100, 3 * BLOCK - 1].map((at) =>
      dataAt + at
    );
    await flipEach(machine, `/store/${CHUNKS}`, offsets, async (store, files, offset) => {
      const { findings } = await checkVolume(await unlocked(store, "v", key), "v", { files });
      const block = offset - (offset - dataAt) % BLOCK;
      assertEquals(findings.map((finding) => [finding.object, finding.offset]), [[CHUNKS, block]]);
      await readAll(store, files, key);
    });
  });
}

for (const key of KEYS) {
  const kind = key === undefined ? "plain" : "encrypted";
  Deno.test(`a flipped bit + ${kind}, any byte of a journal that was flushed is found and named`, async () => {
    const machine = await made(key);
    const folder = "/journal/v";
    const file = `${folder}/journal-0000`;
    const bytes = bytesOf(contentsOf(machine, file));
    // Segment header, batch of the chunk's data, which the store has, and those of NEWER.
    const starts: number[] = [];
    for (let at = 4096; at < bytes.length; at += 4096) {
      if (new TextDecoder().decode(bytes.subarray(at, at + 4)) === "UBJB") starts.push(at);
    }
    const [last, second, first] = starts.toReversed();
    const header = new DataView(bytes.buffer).getUint32(second + 8, true);
    const check = (place: RegExp) => async (store: Store, files: CrashableProcess) => {
      const { findings } = await checkVolume(await unlocked(store, "v", key), "v", {
        files,
        journal: "/journal",
      });
      assertEquals(findings.length, 1);
      assert(findings[0].object.startsWith(folder));
      assertMatch(findings[0].words, place);
    };
    // The identity; flipped, it may be another journal's, or none at all.
    await flipEach(
      machine,
      `${folder}/journal-id`,
      range(0, 64),
      check(/checksum|it is not a|format|version/),
    );
    await flipEach(machine, file, range(0, 88), check(/byte \d+ of journal-0000/));
    const there = new RegExp(`after byte ${second} of journal-0000`);
    await flipEach(machine, file, range(second, second + header), check(there));
    const data = second + 4096;
    await flipEach(machine, file, [data, data + 100, data + BLOCK - 1], check(there));
    await flipEach(machine, file, [first + 4096], check(new RegExp(`after byte ${first} of`)));
    // Of a volume that is open, the read says where.
    const files = new CrashableProcess(machine);
    await using store = await DirectoryStore.open("/store", { files });
    const lines: string[] = [];
    const report = (line: string) => void lines.push(line);
    const volume = await Volume.open("v", {
      ...{ store, files, journal: "/journal", readOnly: true, key, report },
    });
    flipIn(contentsOf(machine, file), data, 1);
    await assertRejects(() => volume.read(new Uint8Array(BLOCK), NEWER[1][0] * BLOCK), UblkError);
    flipIn(contentsOf(machine, file), data, 1);
    await volume.close();
    const place = `the block at byte ${data} of journal-0000`;
    assertEquals(lines, [`journal ${folder}: ${place} has a wrong checksum`]);
    // Nothing says that the last batch was durable: it passes for one that was torn, as it must after a
    // power cut. It is not returned.
    await flipEach(machine, file, [last, last + 4096], async (store, files) => {
      const { findings, batches } = await checkVolume(await unlocked(store, "v", key), "v", {
        files,
        journal: "/journal",
      });
      assertEquals([findings, batches], [[], NEWER.length - 1]);
    });
  });
}

Deno.test("a flipped bit + any byte of a volume's key is found and named by whoever opens it", async () => {
  const key = KEYS[1];
  const machine = await made(key);
  const head = bytesOf(contentsOf(machine, "/store/v/head"));
  const name = `v/keys/${head.subarray(16, 32).toHex()}`;
  const { bytes } = contentsOf(machine, `/store/${name}`);
  assertEquals(bytes, 128);
  await flipEach(machine, `/store/${name}`, range(0, bytes), async (store) => {
    const error = await assertRejects(() => unlocked(store, "v", key), UblkError, name);
    assertEquals(error.code, "VOLUME_DAMAGED");
  });
});
