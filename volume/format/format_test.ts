import { assertEquals, assertThrows } from "@std/assert";
import {
  CHUNK_HEADER_BYTES,
  ChunkWriter,
  dataOffset,
  decodeChunkTable,
  tableBytesOf,
} from "./chunk.ts";
import { type Catalog, decodeCatalog, encodeCatalog } from "./catalog.ts";
import { decodeHead, encodeHead, type Head } from "./head.ts";
import { decodeSegmentHeader, encodeSegmentHeader } from "./journal.ts";
import { SEGMENT_HEADER_BYTES } from "./journal_layout.ts";
import { decodeManifest, encodeManifest, type Manifest } from "./manifest.ts";
import { chunkOf, HOLE, nthOf, placeOf } from "./place.ts";
import { FormatError } from "./record.ts";
import { decodeRun, encodeRun, Extents } from "./run.ts";

const VOLUME = "000102030405060708090a0b0c0d0e0f";
const OTHER = "ff".repeat(16);

const HEAD: Head = {
  ...{ volume: VOLUME, nonce: "11".repeat(16), epoch: 3, manifest: 7, manifestSum: 0xdeadbeef },
  ...{ attached: true, journal: "22".repeat(16), owner: "33".repeat(16), leaseMs: 30_000 },
  ...{ written: 2 ** 40 + 5, time: 1_700_000_000_000, host: "höst" },
};

const MANIFEST: Manifest = {
  ...{ volume: VOLUME, number: 7, epoch: 3, size: 2 ** 40, blockSize: 4096, chunkSize: 4 << 20 },
  ...{ sequence: 12, position: 123_456, chain: 0xffffffff, nextChunk: 9, nextRun: 4 },
  ...{ written: 77, time: 5, created: 4, ancestors: [], since: 0 },
  runs: [
    { number: 1, entries: 10, level: 1, bytes: 304, sum: 1 },
    { number: 3, entries: 2 ** 32 - 1, level: 0, bytes: 2 ** 40, sum: 2 ** 32 - 1 },
  ],
};

/** Of a clone of a clone. */
const CLONE: Manifest = {
  ...MANIFEST,
  ancestors: [
    { name: "a".repeat(128), volume: OTHER, chunk: 2 ** 36, run: 1 },
    { name: "b", volume: "99".repeat(16), chunk: 2 ** 36, run: 2 ** 52 },
  ],
  since: 2 ** 52,
};
const PACKED: Manifest = { ...MANIFEST, compression: "zstd" };

const EXTENTS = new Extents(1);
EXTENTS.push(0, 1, placeOf(1, 0));
EXTENTS.push(5, 3, HOLE);
EXTENTS.push(2 ** 40, 2 ** 32 - 1, placeOf(2 ** 36 - 1, 131_071 - 7));

const CATALOG: Catalog = {
  ...{ volume: VOLUME, nonce: "55".repeat(16), floor: 2 ** 40 + 7, least: 9 },
  copy: "99".repeat(16),
  entries: [
    {
      ...{ name: "a".repeat(128), kind: "snapshot", manifest: 2 ** 52, manifestSum: 2 ** 32 - 1 },
      ...{ time: 1_700_000_000_000, size: 2 ** 50, id: "66".repeat(16) },
    },
    {
      ...{ name: "höst", kind: "reader", manifest: 1, manifestSum: 0, time: 0, size: 512 },
      id: "77".repeat(16),
    },
    {
      ...{ name: "c", kind: "clone", manifest: 3, manifestSum: 4, time: 5, size: 6 },
      id: "88".repeat(16),
    },
  ],
  removed: { chunk: 2 ** 36, run: 12, manifest: 13 },
};

/** The entries of extents, as rows. */
function rows({ length, blocks, counts, places }: Extents): number[][] {
  return Array.from({ length }, (_, nth) => [blocks[nth], counts[nth], places[nth]]);
}

function chunk(): Uint8Array<ArrayBuffer> {
  const origin = {
    ...{ volume: VOLUME, number: 5, epoch: 3, first: 1, last: 2, blockSize: 512 },
    ...{ part: 0, parts: 1 },
  };
  const frames = [
    { block: 3, count: 2, hole: false },
    { block: 7, count: 100, hole: true },
    { block: 2 ** 41, count: 1, hole: false },
  ];
  const writer = new ChunkWriter(origin, frames);
  for (let nth = 0; nth < 3; nth++) writer.data(nth).fill(nth + 1, 0, 512);
  writer.seal();
  return writer.bytes;
}

const SEGMENT = {
  ...{ volume: VOLUME, journal: "44".repeat(16), segment: 9, epoch: 3, sequence: 100 },
  ...{ chain: 0x12345678, blockSize: 4096, size: 64 << 20 },
};

/** Each kind of record, and how it is read. */
const KINDS: readonly (readonly [
  string,
  Uint8Array<ArrayBuffer>,
  (bytes: Uint8Array<ArrayBuffer>) => unknown,
  string,
])[] = [
  ["a head", encodeHead(HEAD), decodeHead, "a volume's head"],
  ["a catalog", encodeCatalog(CATALOG), decodeCatalog, "a volume's catalog"],
  ["a manifest", encodeManifest(MANIFEST).bytes, decodeManifest, "a manifest"],
  ["a clone's manifest", encodeManifest(CLONE).bytes, decodeManifest, "a manifest"],
  ["a compressing volume's manifest", encodeManifest(PACKED).bytes, decodeManifest, "a manifest"],
  [
    "a run",
    encodeRun(VOLUME, 3, EXTENTS).bytes,
    (bytes) => decodeRun(bytes, VOLUME, 3),
    "a piece of the block map",
  ],
  [
    "a chunk's table",
    chunk().slice(0, dataOffset(3, 3)),
    (bytes) => decodeChunkTable(bytes, VOLUME, 5),
    "a chunk",
  ],
  [
    "a segment's header",
    (() => {
      const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
      encodeSegmentHeader(bytes, SEGMENT);
      return bytes;
    })(),
    decodeSegmentHeader,
    "a journal's segment",
  ],
];

for (const [name, bytes, read, words] of KINDS) {
  Deno.test(`${name} with a flipped bit is refused, whichever bit it is`, () => {
    read(bytes.slice());
    for (let bit = 0; bit < bytes.length * 8; bit += bytes.length > 512 ? 7 : 1) {
      const copy = bytes.slice();
      copy[bit >> 3] ^= 1 << (bit & 7);
      assertThrows(() => read(copy), FormatError, undefined, `bit ${bit}`);
    }
  });

  Deno.test(`${name} of a newer format is refused by its name`, () => {
    const copy = bytes.slice();
    copy[8] = 9;
    assertThrows(() => read(copy), FormatError, `it is ${words} of format 9`);
  });

  Deno.test(`${name} that is cut short is refused`, () => {
    for (const length of [0, 7, 31, 32, bytes.length - 1]) {
      assertThrows(() => read(bytes.slice(0, length)), FormatError, undefined, `${length} bytes`);
    }
  });
}

Deno.test("heads, catalogs, manifests, runs and segments' headers are read as they were written", () => {
  assertEquals(decodeCatalog(encodeCatalog(CATALOG)), CATALOG);
  const { removed: _, copy: __, ...living } = CATALOG;
  assertEquals(decodeCatalog(encodeCatalog(living)), living);
  assertEquals(decodeHead(encodeHead(HEAD)), HEAD);
  const { bytes, sum } = encodeManifest(MANIFEST);
  assertEquals(decodeManifest(bytes, VOLUME), { ...MANIFEST, sum });
  const clone = encodeManifest(CLONE);
  assertEquals(decodeManifest(clone.bytes, VOLUME), { ...CLONE, sum: clone.sum });
  for (const one of [PACKED, { ...CLONE, compression: "zstd" as const }]) {
    const packed = encodeManifest(one);
    assertEquals(decodeManifest(packed.bytes, VOLUME), { ...one, sum: packed.sum });
  }
  const flat = encodeManifest({ ...CLONE, ancestors: [] });
  assertEquals(decodeManifest(flat.bytes), { ...CLONE, ancestors: [], sum: flat.sum });
  // One that never was a clone is what older versions of ublk read.
  assertEquals([bytes[8], clone.bytes[8], flat.bytes[8]], [1, 2, 2]);
  const unmade: Head = { ...HEAD, attached: false, beingMade: true };
  assertEquals(decodeHead(encodeHead(unmade)), unmade);
  assertEquals(rows(decodeRun(encodeRun(VOLUME, 3, EXTENTS).bytes, VOLUME, 3)), rows(EXTENTS));
  const header = new Uint8Array(SEGMENT_HEADER_BYTES);
  const headerSum = encodeSegmentHeader(header, SEGMENT);
  assertEquals(decodeSegmentHeader(header, VOLUME), { ...SEGMENT, sum: headerSum });
});

Deno.test("a chunk is read as it was written, and its blocks are where its table says", () => {
  const bytes = chunk();
  assertEquals(tableBytesOf(bytes.slice(0, CHUNK_HEADER_BYTES)), 4096);
  const table = decodeChunkTable(bytes.slice(0, 4096), VOLUME, 5);
  assertEquals(table.frames.map(({ block, count, hole }) => [block, count, hole]), [
    [3, 2, false],
    [7, 100, true],
    [2 ** 41, 1, false],
  ]);
  assertEquals([table.dataAt, table.length, table.sums.length], [4096, bytes.length, 3]);
  for (let nth = 0; nth < 3; nth++) {
    const at = table.dataAt + nth * 512;
    assertEquals(new Set(bytes.subarray(at, at + 512)), new Set([nth + 1]));
  }
});

Deno.test("what is right in itself, and somebody else's, is refused", () => {
  const { bytes } = encodeManifest(MANIFEST);
  assertThrows(() => decodeManifest(bytes, OTHER), FormatError, "of another volume");
  const run = encodeRun(VOLUME, 3, EXTENTS).bytes;
  assertThrows(() => decodeRun(run, VOLUME, 4), FormatError, "it is run 3");
  const table = chunk().slice(0, 4096);
  assertThrows(() => decodeChunkTable(table, VOLUME, 6), FormatError, "it is chunk 5");
  assertThrows(() => decodeHead(bytes.slice(0, 256)), FormatError, "it is not a volume's head");
});

Deno.test("the bytes of a head are those of docs/volume-format.md", () => {
  const hex = encodeHead(HEAD).toHex();
  const at = (offset: number, bytes: number) => hex.slice(offset * 2, (offset + bytes) * 2);
  assertEquals(at(0, 8), "55424c4b48454144"); // UBLKHEAD
  assertEquals(at(8, 4), "01000000");
  assertEquals(at(16, 16), VOLUME);
  assertEquals(at(32, 16), HEAD.nonce);
  assertEquals(at(48, 8), "0300000000000000");
  assertEquals(at(56, 8), "0700000000000000");
  assertEquals(at(64, 4), "efbeadde");
  assertEquals(at(68, 4), "01000000");
  assertEquals(at(72, 16), HEAD.journal);
  assertEquals(at(112, 8), "0500000000010000");
  assertEquals(at(128, 6), "68c3b6737400");
});

Deno.test("a place is a chunk and a block in it", () => {
  for (const [chunk, nth] of [[0, 0], [1, 131_071], [2 ** 36 - 1, 131_071]]) {
    const place = placeOf(chunk, nth);
    assertEquals([chunkOf(place), nthOf(place)], [chunk, nth]);
  }
});

// A volume that is not encrypted then asked for a key, and did not say that it was damaged.
Deno.test("a flipped bit that says that a record is sealed is damage", () => {
  const records: [Uint8Array<ArrayBuffer>, (bytes: Uint8Array<ArrayBuffer>) => unknown][] = [
    [encodeRun(VOLUME, 4, EXTENTS).bytes, (bytes) => decodeRun(bytes, VOLUME, 4)],
    [encodeManifest(MANIFEST).bytes, (bytes) => decodeManifest(bytes)],
    [encodeHead(HEAD), decodeHead],
    [encodeCatalog(CATALOG), decodeCatalog],
  ];
  for (const [bytes, decode] of records) {
    bytes[10] ^= 1;
    assertThrows(() => decode(bytes), FormatError, "its checksum is wrong");
  }
});
