import { assert, assertEquals, assertLess } from "@std/assert";
import { addressOf, openAllOfLibc } from "../../uring/libc.ts";
import { Arena } from "./arena.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const WORDS = 1 << 17;
const BYTES = 4 * WORDS;

/** The kernel's flags of the memory at an address. */
function flagsAt(address: number): string[] {
  let isInside = false;
  for (const line of Deno.readTextFileSync("/proc/self/smaps").split("\n")) {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line) ?? [];
    if (start !== undefined) {
      isInside = parseInt(start, 16) <= address && address < parseInt(end, 16);
    }
    if (isInside && line.startsWith("VmFlags:")) return line.split(/\s+/).slice(1);
  }
  throw new Error("nothing is mapped there");
}

/** Bytes of memory of this process. */
function residentBytes(): number {
  return Number(Deno.readTextFileSync("/proc/self/statm").split(" ")[1]) * 4096;
}

Deno.test("Arena + pieces + none overlap, more than one block of memory's worth too", () => {
  const arena = new Arena(WORDS);
  const pieces = Array.from({ length: 150 }, () => arena.take());
  const ends = [0, WORDS - 1];
  pieces.forEach((piece, nth) => ends.forEach((at) => piece[at] = nth + 1));
  pieces.forEach((piece, nth) => {
    assertEquals(piece.length, WORDS);
    assertEquals(ends.map((at) => piece[at]), [nth + 1, nth + 1]);
  });
  assertEquals(new Set(pieces.map((piece) => piece.buffer)).size, 3);
});

Deno.test("Arena + a piece + lies in one huge page, which the kernel was asked for", () => {
  const arena = new Arena(WORDS);
  const [first, second] = [Number(addressOf(arena.take())), Number(addressOf(arena.take()))];
  assertEquals(first % (2 << 20), 0);
  assertEquals(second, first + BYTES);
  let hasHugePages = true;
  try {
    Deno.statSync("/sys/kernel/mm/transparent_hugepage");
  } catch {
    hasHugePages = false;
  }
  assertEquals(flagsAt(second).includes("hg"), hasHugePages);
});

Deno.test("Arena + pieces that are given back + their memory is the kernel's, and they are taken again", () => {
  const arena = new Arena(WORDS);
  const pieces = Array.from({ length: 64 }, () => arena.take().fill(7));
  const full = residentBytes();
  const last = pieces.at(-1)!;
  pieces.forEach((piece) => arena.give(piece));
  assertLess(residentBytes(), full - 48 * BYTES);
  const again = arena.take();
  assert(again === last);
  assert(again.every((word) => word === 0));
});
