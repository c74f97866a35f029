/** What the sums in the clear tell whoever has the store, and guesses what is in an object: nothing. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { areEqual } from "../state.ts";
import { ChunkWriter, dataOffset, isPackedChunk } from "../format/chunk.ts";
import { decodeHead } from "../format/head.ts";
import { decodeManifest, encodeManifest } from "../format/manifest.ts";
import { Fields, hasRightSum, sumOfObject } from "../format/record.ts";
import { decodeRun, encodeRun } from "../format/run.ts";
import { innerSumOf } from "../format/seal.ts";
import { ObjectNames } from "../names.ts";
import { OpenedStore } from "../opened_store.ts";
import { Volume } from "../volume.ts";
import { openTable, sealedChunk } from "./chunks.ts";
import { openCipher } from "./gcm.ts";
import { unlocked } from "./unlock.ts";
import { VolumeKey } from "./volume_key.ts";

// They stay open for the life of the process, which is no leak of the test that opens them first.
openAllOfLibc();
openCipher();

const VOLUME = "0123456789abcdef0123456789abcdef";
const BLOCK = 4096;
/** A key that can be written down. */
const COUNTED = new VolumeKey(Uint8Array.from({ length: 32 }, (_, nth) => 1 + nth));
const NAMES = new ObjectNames("v");

/** A chunk of one block, all of which can be guessed. */
function guessed(piece = 0, blockSize = BLOCK): Uint8Array<ArrayBuffer> {
  const origin = {
    ...{ volume: VOLUME, number: 1, epoch: 1, first: 1, last: 1, blockSize, part: 0, parts: 1 },
    piece,
  };
  const writer = new ChunkWriter(origin, [{ block: 0, count: 1, hole: false }], true);
  writer.data(0).fill(7);
  writer.seal();
  return writer.bytes;
}

/** Whether a number is anywhere in bytes, in either order. */
function has(bytes: Uint8Array<ArrayBuffer>, number: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 4 <= bytes.length; at++) {
    if (view.getUint32(at, true) === number || view.getUint32(at) === number) return true;
  }
  return false;
}

for (const piece of [0, BLOCK]) {
  const words = piece === 0 ? "sealed" : "compressed and sealed";
  Deno.test(`a chunk that was guessed, ${words} + its sum is nowhere, and it comes back as it was`, async () => {
    const chunk = guessed(piece);
    const inner = new MemoryStore();
    const store = new OpenedStore(inner, VolumeKey.random());
    const sums = new Set<number>();
    for (let time = 0; time < 3; time++) {
      await inner.delete(NAMES.chunk(1));
      await store.delete(NAMES.chunk(1));
      await store.putIfAbsent(NAMES.chunk(1), chunk);
      const there = (await inner.get(NAMES.chunk(1)))!.bytes;
      assertEquals(isPackedChunk(there), piece > 0);
      assert(!has(there, sumOfObject(chunk)), "the sum of the plain chunk is there");
      sums.add(innerSumOf(new Fields(there), 128));
      assert(areEqual((await store.get(NAMES.chunk(1)))!.bytes, chunk));
      const range = { offset: 0, length: 512 };
      const part = await store.get(NAMES.chunk(1), { range });
      assert(areEqual(part!.bytes, chunk.subarray(0, 512)));
    }
    assertEquals(sums.size, 3, "each sealing has another sum");
  });
}

// The answer was computed with Python's cryptography, from the format's page.
Deno.test("blindOf + the known answer, and others for other runs", () => {
  const blind = COUNTED.blindOf(VOLUME, 2 ** 40 + 3, 0xdeadbeef);
  assertEquals(blind, 0xf55a596d);
  const others = [
    COUNTED.blindOf(VOLUME, 2 ** 40 + 4, 0xdeadbeef),
    COUNTED.blindOf(VOLUME, 2 ** 40 + 3, 0xdeadbeee),
    COUNTED.blindOf(VOLUME.replace("0", "1"), 2 ** 40 + 3, 0xdeadbeef),
    VolumeKey.random().blindOf(VOLUME, 2 ** 40 + 3, 0xdeadbeef),
  ];
  assertEquals(new Set([blind, ...others]).size, 5);
});

/** The first bytes of a sealed chunk of one block of 512 bytes, from before there were blinds; zeroes follow. */
const OLD_TABLE =
  "VUJMS0NITksBAAEAaefNkwEjRWeJq83vASNFZ4mrze8BAAAAAAAAAAEAAAAAAAAAAQAAAAAAAAABAAAAAAAAAAAC" +
  "AAABAAAAAQAAAAAQAAAAEgAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB6MaC" +
  "8LzKlWGBTEBv/TcYj6u8aAAAAAAAAAAAAAAAANbAF8y8GhrxDEB5oZG1G5CGFzfLx7QC8/0Uoayoe1ySBHLlEk7t" +
  "z5Tbd+wMIHomcoAJYeoH/PTmHWVPbXtjZaX34n4bdABZbw==";

Deno.test("a sealed chunk of before there were blinds + its table opens as it was", () => {
  const chunk = guessed(0, 512);
  const table = new Uint8Array(4096);
  table.set(Uint8Array.fromBase64(OLD_TABLE));
  assertEquals(innerSumOf(new Fields(table), 128), sumOfObject(chunk));
  assert(areEqual(openTable(COUNTED, table, 1)!.bytes, chunk.subarray(0, 4096)));
});

Deno.test("a chunk whose table is damaged when it is sealed + is not made sound by that", () => {
  const key = VolumeKey.random();
  const chunk = guessed();
  chunk[130] ^= 1;
  const sealed = sealedChunk(key, chunk, 1);
  const opened = openTable(key, sealed.slice(0, dataOffset(1, 1, true)), 1);
  assert(!hasRightSum(opened!.bytes));
});

Deno.test("a commit that was guessed + neither the sum of its run nor the head's tells that it is so", async () => {
  const inner = new MemoryStore();
  const key = new Uint8Array(32).fill(1);
  await Volume.create("v", { store: inner, size: "1M", key });
  {
    const journal = await Deno.makeTempDir({ prefix: "ublk-sums-" });
    try {
      await using volume = await Volume.open("v", { store: inner, journal, key });
      await volume.write(new Uint8Array(BLOCK).fill(7), 5 * BLOCK);
    } finally {
      await Deno.remove(journal, { recursive: true });
    }
  }
  const store = await unlocked(inner, "v", key);
  const head = decodeHead((await inner.get("v/head"))!.bytes);
  const name = NAMES.manifest(head.manifest);
  const { sum: _sum, ...manifest } = decodeManifest((await store.get(name))!.bytes);
  const [run] = manifest.runs;
  const bytes = (await store.get(NAMES.run(run.number)))!.bytes;
  const guess = encodeRun(head.volume, run.number, decodeRun(bytes, head.volume, run.number));
  assertEquals(guess.bytes.length, bytes.length);
  assertNotEquals(guess.sum, run.sum);
  // All else of the manifest stands in the clear, or can be guessed by the objects that are there.
  const runs = [{ ...run, sum: guess.sum }];
  assertEquals(encodeManifest(manifest).sum, head.manifestSum);
  assertNotEquals(encodeManifest({ ...manifest, runs }).sum, head.manifestSum);
  for await (const object of inner.list("v/")) {
    const there = (await inner.get(object.name))!.bytes;
    assert(!has(there, guess.sum), `${object.name} has the sum of the run`);
  }
});
