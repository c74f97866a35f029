import { assertEquals, assertThrows } from "@std/assert";
import { readWriteLog } from "./write_log.ts";

const SECTOR = 512;

/** A log as the kernel writes it. */
function log(...entries: [sector: number, sectors: number, flags: number, mark?: string][]) {
  const sectors: Uint8Array[] = [];
  const add = (...words: (number | bigint)[]) => {
    const view = new DataView(new ArrayBuffer(SECTOR));
    words.forEach((word, nth) => view.setBigUint64(nth * 8, BigInt(word), true));
    sectors.push(new Uint8Array(view.buffer));
    return sectors.at(-1)!;
  };
  add(0x6a736677736872n, 1, entries.length, SECTOR);
  for (const [sector, count, flags, mark = ""] of entries) {
    const text = new TextEncoder().encode(mark);
    add(sector, count, flags, text.length).set(text, 32);
    if ((flags & 4) === 0) { for (let nth = 0; nth < count; nth++) add(sector + nth); }
  }
  const bytes = new Uint8Array(sectors.length * SECTOR);
  sectors.forEach((sector, nth) => bytes.set(sector, nth * SECTOR));
  return (offset: number, length: number) => bytes.slice(offset, offset + length);
}

Deno.test("readWriteLog + finds each entry behind the data of the one before", () => {
  const read = log([8, 2, 0], [100, 50, 4], [0, 0, 1], [7, 1, 3], [0, 0, 8, "here"], [9, 1, 2]);
  const entries = readWriteLog(read);
  const flags = { flush: false, fua: false, discard: false, mark: undefined };
  assertEquals(entries.map(({ dataAt: _at, ...rest }) => rest), [
    { ...flags, offset: 8 * SECTOR, length: 2 * SECTOR },
    { ...flags, offset: 100 * SECTOR, length: 50 * SECTOR, discard: true },
    { ...flags, offset: 0, length: 0, flush: true },
    { ...flags, offset: 7 * SECTOR, length: SECTOR, flush: true, fua: true },
    { ...flags, offset: 0, length: 0, mark: "here" },
    { ...flags, offset: 9 * SECTOR, length: SECTOR, fua: true },
  ]);
  for (const { offset, length, dataAt, discard } of entries) {
    if (length === 0 || discard) continue;
    assertEquals(read(dataAt, 1)[0], offset / SECTOR, "its data begins with its sector");
  }
});

Deno.test("readWriteLog + refuses what is no log", () => {
  assertThrows(() => readWriteLog((_offset, bytes) => new Uint8Array(bytes)), Error, "no log");
});
