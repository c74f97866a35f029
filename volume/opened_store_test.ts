import { assert, assertEquals, assertThrows } from "@std/assert";
import { MemoryStore } from "../store/memory.ts";
import { areEqual } from "./state.ts";
import {
  CHUNK_HEADER_BYTES,
  ChunkWriter,
  decodeChunkTable,
  type Frame,
  tableBytesOf,
} from "./format/chunk.ts";
import { decodeManifest, encodeManifest, type Manifest } from "./format/manifest.ts";
import { Fields, FormatError, sealRecord } from "./format/record.ts";
import { decodeRun, encodeRun, Extents } from "./format/run.ts";
import { ObjectNames } from "./names.ts";
import { decodeAnyTable } from "./pack/any_table.ts";
import { blockAsItLay } from "./seal/chunks.ts";
import { openCipher } from "./seal/gcm.ts";
import { OpenedStore } from "./opened_store.ts";
import { VolumeKey } from "./seal/volume_key.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const VOLUME = "0123456789abcdef0123456789abcdef";
const OTHER = "fedcba9876543210fedcba9876543210";
const BLOCK = 512;
const NAMES = new ObjectNames("v");
const FRAMES: readonly Frame[] = [
  { block: 5, count: 3, hole: false },
  { block: 20, count: 4, hole: true },
  { block: 100, count: 50, hole: false },
];
const BLOCKS = 53;

function manifestOf(number: number): Manifest {
  return {
    ...{ volume: VOLUME, number, epoch: 3, size: 1 << 20, blockSize: BLOCK, chunkSize: 1 << 16 },
    ...{ sequence: 7, position: 4096, chain: 9, nextChunk: 12, nextRun: 3, written: 5, time: 6 },
    ...{ created: 2, ancestors: [], since: 0 },
    ...{ runs: [{ number: 1, entries: 2, level: 0, bytes: 112, sum: 77 }] },
  };
}

function runOf(number: number): Uint8Array<ArrayBuffer> {
  const extents = new Extents();
  extents.push(3, 4, 5);
  return encodeRun(VOLUME, number, extents).bytes;
}

function chunkOf(number: number): Uint8Array<ArrayBuffer> {
  const origin = {
    ...{ volume: VOLUME, number, epoch: 1, first: 2, last: 3, blockSize: BLOCK, part: 0, parts: 1 },
  };
  const writer = new ChunkWriter(origin, FRAMES, true);
  for (let nth = 0; nth < BLOCKS; nth++) writer.data(nth).fill(65 + nth, 0, BLOCK);
  writer.seal();
  return writer.bytes;
}

const OBJECTS: readonly {
  readonly name: (number: number) => string;
  readonly make: (number: number) => Uint8Array<ArrayBuffer>;
  readonly read: (bytes: Uint8Array<ArrayBuffer>, number: number) => unknown;
}[] = [
  {
    name: (number) => NAMES.manifest(number),
    make: (number) => encodeManifest(manifestOf(number)).bytes,
    read: (bytes) => decodeManifest(bytes, VOLUME).runs,
  },
  {
    name: (number) => NAMES.run(number),
    make: runOf,
    read: (bytes, number) => decodeRun(bytes, VOLUME, number),
  },
  {
    name: (number) => NAMES.chunk(number),
    make: chunkOf,
    read: (bytes, number) =>
      decodeChunkTable(bytes.subarray(0, tableBytesOf(bytes)), VOLUME, number),
  },
];

function stores(key = VolumeKey.random()) {
  const inner = new MemoryStore();
  return { inner, key, store: new OpenedStore(inner, key) };
}

async function put(store: MemoryStore | OpenedStore, name: string, bytes: Uint8Array<ArrayBuffer>) {
  await store.delete(name);
  await store.putIfAbsent(name, bytes);
}

Deno.test("OpenedStore + what was put comes back, and nothing of it lies in the store", async () => {
  const { inner, store } = stores();
  for (const { name, make, read } of OBJECTS) {
    const bytes = make(4);
    await store.putIfAbsent(name(4), bytes);
    const { bytes: found } = (await store.get(name(4)))!;
    assert(areEqual(found, bytes), name(4));
    read(found, 4);
    const there = (await inner.get(name(4)))!.bytes;
    // Everything behind the clear part: 16 bytes that are the same would be no chance.
    for (let at = 128; at + 16 <= bytes.length; at += 16) {
      const part = bytes.subarray(at, at + 16);
      if (part.every((byte) => byte === 0)) continue;
      assert(!areEqual(part, there.subarray(at, at + 16)), `${name(4)}, byte ${at}`);
    }
    assertThrows(() => read(there, 4), Error, "encrypted");
  }
});

Deno.test("OpenedStore + a clone's ancestors are read without the key, its runs are not, and none is believed that was changed", async () => {
  const { inner, store } = stores();
  const ancestors = [
    { name: "older", volume: "01".repeat(16), chunk: 5, run: 4 },
    { name: "old", volume: "02".repeat(16), chunk: 9, run: 8 },
  ];
  const manifest = { ...manifestOf(4), ancestors, since: 3 };
  const { bytes, sum } = encodeManifest(manifest);
  const name = NAMES.manifest(4);
  await put(store, name, bytes);
  assert(areEqual((await store.get(name))!.bytes, bytes));
  const there = (await inner.get(name))!.bytes;
  const locked = decodeManifest(there, VOLUME);
  assertEquals([locked.ancestors, locked.since, locked.sum], [ancestors, 3, sum]);
  assertThrows(() => locked.runs, Error, "encrypted");
  // The name of the newest, with a sum that fits.
  const forged = there.slice();
  const at = new TextDecoder("latin1").decode(forged).lastIndexOf("old\0");
  forged[at] ^= 1;
  sealRecord(new Fields(forged));
  assertEquals(decodeManifest(forged, VOLUME).ancestors[1].name, "nld");
  await put(inner, name, forged);
  const found = (await store.get(name))!.bytes;
  assertThrows(() => decodeManifest(found, VOLUME), FormatError, "key does not open it");
  // So many ancestors that there is no room for them.
  new Fields(forged).setU32(128, 0xffff_ffff);
  sealRecord(new Fields(forged));
  await put(inner, name, forged);
  const grown = (await store.get(name))!.bytes;
  assertThrows(() => decodeManifest(grown, VOLUME), FormatError, "key does not open it");
});

Deno.test("blockAsItLay + the same data is sealed to the same bytes, and no other is sealed", async () => {
  const { inner, key, store } = stores();
  const bytes = chunkOf(1);
  await store.putIfAbsent(NAMES.chunk(1), bytes);
  const there = (await inner.get(NAMES.chunk(1)))!.bytes;
  const { dataAt, seals } = decodeAnyTable(there.slice(0, tableBytesOf(there)), VOLUME, 1, key);
  const [from, to] = [dataAt + 3 * BLOCK, dataAt + 4 * BLOCK];
  assertEquals(blockAsItLay(seals!, 3, bytes.slice(from, to)), there.slice(from, to));
  assertEquals(blockAsItLay(seals!, 2, bytes.slice(from, to)), undefined);
  bytes[from] ^= 1;
  assertEquals(blockAsItLay(seals!, 3, bytes.slice(from, to)), undefined);
});

Deno.test("OpenedStore + what is put again is sealed anew, and is the same", async () => {
  const { inner, store } = stores();
  for (const { name, make } of OBJECTS) {
    const seen = [];
    for (let time = 0; time < 2; time++) {
      await put(store, name(1), make(1));
      seen.push((await inner.get(name(1)))!.bytes);
      assert(areEqual((await store.get(name(1)))!.bytes, make(1)));
    }
    assert(!areEqual(seen[0], seen[1]), "a salt was drawn twice");
  }
});

/** Says that a sealed object is another volume's, with a sum that fits. */
function otherVolume(
  sealed: Uint8Array<ArrayBuffer>,
  record: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const isChunk = record[4] === "C".charCodeAt(0);
  sealed.set(Uint8Array.fromHex(OTHER), 16);
  const summed = isChunk ? sealed.subarray(0, tableBytesOf(sealed)) : sealed;
  sealRecord(new Fields(summed));
  return sealed;
}

const otherKey = (sealed: Uint8Array<ArrayBuffer>) => sealed;

Deno.test("OpenedStore + an object that was swapped, forged, cut or never sealed is none", async () => {
  const { inner, key, store } = stores();
  for (const { name, make, read } of OBJECTS) {
    await put(store, name(1), make(1));
    await put(store, name(2), make(2));
    const [one, two] = [(await inner.get(name(1)))!.bytes, (await inner.get(name(2)))!.bytes];
    const refused = async (bytes: Uint8Array<ArrayBuffer>, words: RegExp) => {
      await put(inner, name(1), bytes);
      const found = (await store.get(name(1)))!.bytes;
      const error = assertThrows(() => read(found, 1), FormatError);
      assert(words.test(error.message), `${name(1)}: ${error.message}`);
    };
    await refused(two, /does not open it/);
    await refused(make(1), /does not open it/);
    await refused(one.subarray(0, 100), /checksum|too short/);
    const flipped = one.slice();
    flipped[Math.min(180, one.length - 1)] ^= 1;
    await refused(flipped, /checksum is wrong/);
    // Of another volume, and with another key.
    for (const change of [otherVolume, otherKey]) {
      const other = new OpenedStore(inner, change === otherKey ? VolumeKey.random() : key);
      await put(other, name(1), make(1));
      const bytes = (await inner.get(name(1)))!.bytes;
      await refused(change(bytes, make(1)), /does not open it/);
    }
    await put(inner, name(1), one);
    read((await store.get(name(1)))!.bytes, 1);
  }
});

Deno.test("OpenedStore + ranges of a chunk are those of the chunk, and single blocks are judged", async () => {
  const { inner, store } = stores();
  const chunk = chunkOf(1);
  const name = NAMES.chunk(1);
  await store.putIfAbsent(name, chunk);
  const dataAt = tableBytesOf(chunk.subarray(0, CHUNK_HEADER_BYTES));
  const ranges = [[0, 128], [100, dataAt], [dataAt, BLOCK], [dataAt + 5, 2000], [dataAt - 9, 30]];
  for (const [offset, length] of [...ranges, [0, chunk.length]]) {
    const found = (await store.get(name, { range: { offset, length } }))!;
    assertEquals(found.size, chunk.length);
    assert(areEqual(found.bytes, chunk.subarray(offset, offset + length)), `${offset} ${length}`);
  }
  const whole = { offset: dataAt, length: chunk.length, mayEnd: true };
  assert(areEqual((await store.get(name, { range: whole }))!.bytes, chunk.subarray(dataAt)));
  // A block in the place of another one.
  const there = (await inner.get(name))!.bytes;
  const block = (nth: number) => there.slice(dataAt + nth * BLOCK, dataAt + (nth + 1) * BLOCK);
  const [third, fourth] = [block(3), block(4)];
  there.set(fourth, dataAt + 3 * BLOCK);
  await put(inner, name, there);
  const fresh = new OpenedStore(inner, store.key);
  for (const bytes of [(await fresh.get(name))!.bytes, there]) {
    const part = bytes.subarray(dataAt + 3 * BLOCK, dataAt + 4 * BLOCK);
    assert(!areEqual(part, chunk.subarray(dataAt + 3 * BLOCK, dataAt + 4 * BLOCK)));
  }
  const opened = (await fresh.get(name))!.bytes;
  assert(areEqual(opened.subarray(dataAt + 4 * BLOCK), chunk.subarray(dataAt + 4 * BLOCK)));
  there.set(third, dataAt + 3 * BLOCK);
  await put(inner, name, there);
  assert(areEqual((await fresh.get(name))!.bytes, chunk));
});
