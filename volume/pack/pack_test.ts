import { assert, assertEquals } from "@std/assert";
import { zstdCompressSync } from "node:zlib";
import { MemoryStore } from "../../store/memory.ts";
import { StoreError } from "../../store/store.ts";
import { areEqual } from "../state.ts";
import {
  ChunkWriter,
  decodeChunkTable,
  type Frame,
  isPackedChunk,
  shapeOfChunk,
  tableBytesOf,
} from "../format/chunk.ts";
import { pieceBytes } from "../format/compression.ts";
import { FormatError } from "../format/record.ts";
import { sumOf } from "../format/sum.ts";
import { ObjectNames } from "../names.ts";
import { OpenedStore } from "../opened_store.ts";
import { openCipher } from "../seal/gcm.ts";
import { VolumeKey } from "../seal/volume_key.ts";
import { decodeAnyTable } from "./any_table.ts";
import { openPackedTable, pieceAsItLay } from "./chunks.ts";
import { compressed, decompress } from "./codec.ts";
import { mayPay } from "./entropy.ts";

openCipher();

const VOLUME = "0123456789abcdef0123456789abcdef";
const BLOCK = 512;
const PIECE = 4 * BLOCK;
const NAME = new ObjectNames("v").chunk(7);
const FRAMES: readonly Frame[] = [
  { block: 5, count: 3, hole: false },
  { block: 20, count: 4, hole: true },
  { block: 100, count: 11, hole: false },
];
const BLOCKS = 14;
/** The pieces: text, random, half and half, and a short one of zeroes. */
const KINDS = "trhz";
const KEYS = [undefined, VolumeKey.random()];

function random(bytes: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(bytes));
}

function text(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes).map((_, at) => 97 + (at * at >> 5) % 17);
}

function dataOf(kinds: string): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(BLOCKS * BLOCK);
  [...kinds].forEach((kind, nth) => {
    const piece = data.subarray(nth * PIECE, (nth + 1) * PIECE);
    if (kind === "r") piece.set(random(piece.length));
    if (kind === "t" || kind === "h") piece.set(text(piece.length));
    if (kind === "h") piece.set(random(PIECE / 2));
  });
  return data;
}

function chunkOf(key: VolumeKey | undefined, kinds = KINDS, piece = PIECE) {
  const origin = {
    ...{ volume: VOLUME, number: 7, epoch: 1, first: 2, last: 3, blockSize: BLOCK, part: 0 },
    ...{ parts: 1, piece },
  };
  const writer = new ChunkWriter(origin, FRAMES, key !== undefined);
  writer.data(0).set(dataOf(kinds));
  writer.seal();
  return writer.bytes;
}

async function putChunk(key: VolumeKey | undefined, kinds = KINDS, piece = PIECE) {
  const inner = new MemoryStore();
  const store = new OpenedStore(inner, key);
  const plain = chunkOf(key, kinds, piece);
  await store.putIfAbsent(NAME, plain);
  const { bytes, version } = (await inner.get(NAME))!;
  return { inner, store, plain, lay: bytes, version };
}

/** What a reader of the plain form finds wrong. */
function faultsOf(bytes: Uint8Array<ArrayBuffer>): string[] {
  try {
    const table = decodeChunkTable(bytes.subarray(0, tableBytesOf(bytes)), VOLUME, 7);
    if (table.length !== bytes.length) return ["length"];
    return [...table.sums.entries()].flatMap(([nth, sum]) => {
      const at = table.dataAt + nth * BLOCK;
      return sumOf(bytes.subarray(at, at + BLOCK)) === sum ? [] : [`block ${nth}`];
    });
  } catch (error) {
    if (error instanceof FormatError) return [error.message];
    throw error;
  }
}

Deno.test("compressed + data + comes back, and only where it pays", () => {
  for (const bytes of [512, 4096, 65536]) {
    for (const data of [text(bytes), new Uint8Array(bytes)]) {
      const packed = compressed(data)!;
      assert(packed.length < bytes / 2, `${packed.length} of ${bytes}`);
      const target = new Uint8Array(bytes);
      assert(decompress(packed, target) && areEqual(target, data));
    }
    assertEquals(compressed(random(bytes)), undefined);
  }
  // Nine tenths of it are random: less than an eighth would be saved.
  const most = random(65536);
  most.fill(0, 0, 6000);
  assertEquals(compressed(most), undefined);
  most.fill(0, 0, 12000);
  assert(compressed(most) !== undefined);
});

Deno.test("decompress + other bytes + is false, and never more than the target has", () => {
  const data = text(65536);
  const packed = compressed(data)!;
  const target = new Uint8Array(data.length);
  assert(decompress(packed, target));
  assert(!decompress(packed.subarray(0, packed.length / 2), target), "cut");
  assert(!decompress(new Uint8Array(), target), "nothing");
  assert(!decompress(random(1000), target), "no frame");
  assert(!decompress(packed, new Uint8Array(data.length - 1)), "too short");
  assert(!decompress(packed, new Uint8Array(data.length + 1)), "too long");
  const bomb = new Uint8Array(zstdCompressSync(new Uint8Array(1 << 25)));
  assert(bomb.length < 4_000);
  // The best of several: the machine may be busy with something else.
  const times = Array.from({ length: 5 }, () => {
    const began = performance.now();
    assert(!decompress(bomb, target), "a bomb");
    return performance.now() - began;
  });
  assert(Math.min(...times) < 100, "it was not blown up");
});

Deno.test("mayPay + data + is no only for what is random and does not repeat", () => {
  for (const bytes of [4096, 65536]) {
    let tries = 0;
    for (let run = 0; run < 50; run++) if (mayPay(random(bytes))) tries++;
    assert(tries < 5, `${tries} of 50 times ${bytes} random bytes are tried`);
    assert(mayPay(text(bytes)) && mayPay(new Uint8Array(bytes)));
  }
  for (const bytes of [4096, 32768]) {
    const part = random(bytes);
    const repeated = new Uint8Array(65536);
    for (let at = 0; at < repeated.length; at += bytes) repeated.set(part, at);
    assert(mayPay(repeated) && compressed(repeated)!.length < 1.1 * bytes, `${bytes}`);
  }
});

Deno.test("pieceBytes + sizes + are lines of a cache, and several in a chunk", () => {
  assertEquals(
    [[4096, 4 << 20], [4096, 1 << 19], [512, 1 << 16], [512, 8192], [4096, 8192]].map((
      [block, chunk],
    ) => pieceBytes({ blockSize: block, chunkSize: chunk, compression: "zstd" })),
    [65536, 65536, 8192, 1024, 4096],
  );
});

Deno.test("OpenedStore + a chunk that is to be compressed + lies there so, and comes back", async () => {
  for (const key of KEYS) {
    const { store, plain, lay } = await putChunk(key);
    assert(isPackedChunk(lay) && lay.length < plain.length * 0.6, `${lay.length}`);
    const { bytes, size } = (await store.get(NAME))!;
    assert(areEqual(bytes, plain) && size === plain.length);
    const table = decodeAnyTable(lay.slice(0, tableBytesOf(lay)), VOLUME, 7, key);
    assertEquals([table.length, table.pieces!.size], [lay.length, PIECE]);
    const { offsets } = table.pieces!;
    const isRaw = [...KINDS].map((_, nth) => offsets[nth + 1] - offsets[nth] === PIECE);
    assertEquals(isRaw, [false, true, false, false]);
    assertEquals(table.frames, FRAMES);
    // Each piece can be made again, for whoever mends it.
    for (let nth = 0; nth < KINDS.length; nth++) {
      const at = tableBytesOf(plain) + nth * PIECE;
      const data = plain.slice(at, at + PIECE);
      const made = pieceAsItLay(table.pieces!, nth, data)!;
      const from = table.dataAt + offsets[nth];
      assert(areEqual(made, lay.subarray(from, table.dataAt + offsets[nth + 1])));
      data[0] ^= 1;
      assertEquals(pieceAsItLay(table.pieces!, nth, data), undefined);
    }
  }
});

Deno.test("OpenedStore + a chunk for which it does not pay, or of another volume + stays as it is", async () => {
  for (const [kinds, piece] of [["rrrr", PIECE], [KINDS, 0]] as const) {
    const { plain, lay } = await putChunk(undefined, kinds, piece);
    assert(areEqual(lay, plain) && shapeOfChunk(plain).piece === piece);
    const sealed = await putChunk(KEYS[1], kinds, piece);
    assert(!isPackedChunk(sealed.lay) && sealed.lay.length === sealed.plain.length);
    assert(areEqual((await sealed.store.get(NAME))!.bytes, sealed.plain));
  }
});

Deno.test("OpenedStore + ranges of a compressed chunk + are those of the plain one", async () => {
  for (const key of KEYS) {
    const { inner, plain } = await putChunk(key);
    const dataAt = tableBytesOf(plain);
    const ranges = [
      ...[[0, 128], [100, dataAt], [dataAt, BLOCK], [dataAt - 9, 30], [dataAt + PIECE - 1, 2]],
      ...[[dataAt + PIECE, PIECE], [dataAt + 100, 2 * PIECE], [plain.length - 5, 5]],
    ];
    // By one store after the other, and by one that knows the table.
    const kept = new OpenedStore(inner, key);
    for (const [offset, length] of ranges) {
      for (const store of [new OpenedStore(inner, key), kept]) {
        const found = (await store.get(NAME, { range: { offset, length } }))!;
        assert(areEqual(found.bytes, plain.subarray(offset, offset + length)), `${offset}`);
        assertEquals(found.size, plain.length);
      }
    }
    const beyond = { offset: dataAt, length: plain.length };
    const open = { ...beyond, mayEnd: true };
    assert(areEqual((await kept.get(NAME, { range: open }))!.bytes, plain.subarray(dataAt)));
    const error = await kept.get(NAME, { range: beyond }).catch((error) => error);
    assert(error instanceof StoreError && error.fault === "corrupt");
  }
});

Deno.test("OpenedStore + a compressed chunk with a flipped bit + is damaged just there", async () => {
  for (const key of KEYS) {
    const { inner, store, plain, lay, version: put } = await putChunk(key);
    const { dataAt, pieces } = decodeAnyTable(lay.slice(0, tableBytesOf(lay)), VOLUME, 7, key);
    let version = put;
    for (let at = 0; at < lay.length; at += at < dataAt ? 3 : 41) {
      const flipped = lay.slice();
      flipped[at] ^= 1 << at % 8;
      version = (await inner.replace(NAME, flipped, version))!;
      const faults = faultsOf((await store.get(NAME))!.bytes);
      const nth = pieces!.offsets.findLastIndex((offset) => dataAt + offset <= at);
      if (at < dataAt) assert(faults.length === 1 && !faults[0].startsWith("block"), faults[0]);
      else {
        const blocks = Array.from({ length: BLOCKS }, (_, block) => `block ${block}`);
        assertEquals(faults, blocks.slice(nth * 4, nth * 4 + 4), `byte ${at}`);
      }
      if (at % 37 !== 0) continue;
      const range = { offset: 0, length: 99999, mayEnd: true };
      const part = (await new OpenedStore(inner, key).get(NAME, { range }))!.bytes;
      assert(!areEqual(part, plain), `byte ${at}, in a range`);
    }
  }
});

Deno.test("OpenedStore + a compressed chunk that was cut, exchanged or never sealed + is none", async () => {
  const [, key] = KEYS;
  for (const own of KEYS) {
    const { inner, store, lay, version: put } = await putChunk(own);
    let version = put;
    for (let cut = 0; cut < lay.length; cut += cut < 130 ? 1 : 97) {
      version = (await inner.replace(NAME, lay.slice(0, cut), version))!;
      assert(faultsOf((await store.get(NAME))!.bytes).length > 0, `${cut} bytes`);
    }
    await inner.replace(NAME, (await putChunk(own === key ? undefined : key)).lay, version);
    const [fault] = faultsOf((await store.get(NAME))!.bytes);
    assert(own === key ? fault.includes("key does not open") : fault.includes("encrypted"), fault);
  }
  // Two pieces exchanged, with their lengths and sums: their tags are of other counts.
  const { inner, store, lay, version } = await putChunk(key, "zzzz");
  const { dataAt, pieces } = decodeAnyTable(lay.slice(0, tableBytesOf(lay)), VOLUME, 7, key);
  const [a, b] = [0, 1].map((nth) =>
    lay.slice(dataAt + pieces!.offsets[nth], dataAt + pieces!.offsets[nth + 1])
  );
  assertEquals(a.length, b.length);
  const forged = lay.slice();
  forged.set(b, dataAt);
  forged.set(a, dataAt + a.length);
  const view = new DataView(forged.buffer);
  const entries = dataAt - 8 * KINDS.length;
  view.setUint32(entries + 4, sumOf(b), true);
  view.setUint32(entries + 12, sumOf(a), true);
  view.setUint32(12, 0, true);
  view.setUint32(12, sumOf(forged.subarray(0, dataAt)), true);
  await inner.replace(NAME, forged, version);
  assertEquals(faultsOf((await store.get(NAME))!.bytes).length, 8);
});

Deno.test("openPackedTable + a header that promises more than a chunk may have + is none", async () => {
  const { inner } = await putChunk(undefined, "tttt");
  const { bytes } = (await inner.get(NAME))!;
  assert(openPackedTable(bytes, 7, undefined) !== undefined);
  for (const [offset, value] of [[64, 1 << 26], [100, 1 << 17], [100, 0]]) {
    const other = bytes.slice();
    new DataView(other.buffer).setUint32(offset, value, true);
    assertEquals(openPackedTable(other, 7, undefined), undefined, `${offset}`);
  }
});
