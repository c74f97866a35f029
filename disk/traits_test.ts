import { assertEquals } from "@std/assert";
import { open, zoned } from "../backends/zoned.ts";
import { openMemory } from "../tests/memory_disk.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { mockBackend } from "./mock.ts";
import { Passing } from "./passing.ts";
import { traitsOf } from "./traits.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

/** Traits of a backend with only the two required methods. */
const BARE = {
  ...{ size: 512, blockSize: 512, readOnly: false, flush: false, fua: false, trim: false },
  ...{ writeZeroes: false, address: false, ring: false, preferZeroCopy: false },
  ...{ metadata: false, persistent: false, resize: false, synchronous: false },
};

Deno.test("traitsOf tells what a backend is and can do", () => {
  assertEquals(traitsOf(mockBackend({ size: 1 << 20, blockSize: 4096 })), {
    ...BARE,
    ...{ size: 1 << 20, blockSize: 4096, flush: true, fua: true, trim: true, writeZeroes: true },
  });
  const bare = { size: 512, readAt: () => {}, writeAt: () => {} };
  assertEquals(traitsOf(bare), BARE);
  const more = { readMetadata() {}, writeMetadata() {}, resize() {}, persistent: true };
  assertEquals(traitsOf({ ...bare, ...more }), {
    ...BARE,
    ...{ metadata: true, persistent: true, resize: true },
  });
});

Deno.test("traitsOf tells of zones what crosses to another thread", () => {
  const disk = open(zoned("8MiB", { maxOpen: 1 }).options);
  const { zones } = structuredClone(traitsOf(disk));
  assertEquals(zones, { size: 4 << 20, maxOpen: 1, maxActive: 0 });
  disk.close!();
});

Deno.test("traitsOf counts a ring only where the thread may block, and for copies if it is for them", () => {
  const ring = { metadata: true, preferZeroCopy: true, prepare() {}, complete() {} };
  const disk = { size: 512, readAt: () => {}, writeAt: () => {}, synchronous: true, ring };
  const own = { ring: true, preferZeroCopy: true, metadata: true, synchronous: true };
  assertEquals(traitsOf(disk), { ...BARE, ...own });
  // Its metadata then goes through methods, which this backend does not have.
  const only = { ...disk, ring: { ...ring, forZeroCopyOnly: true } };
  assertEquals(traitsOf(only), { ...BARE, ...own, metadata: false });
  assertEquals(traitsOf(disk, false), BARE);
});

Deno.test("traitsOf lets the thread of an engine block, and says what its methods can do elsewhere", () => {
  const engine = { operations: 1, start() {}, request() {}, done() {}, batchEnd() {}, giveUp() {} };
  const methods = { readAt: () => {}, writeAt: () => {}, readMetadata() {}, writeMetadata() {} };
  const disk = { size: 512, ...methods, flush: () => {}, engine };
  assertEquals(traitsOf(disk), { ...BARE, flush: true, synchronous: true });
  assertEquals(traitsOf(disk, false), { ...BARE, flush: true, metadata: true });
  // A wrapper calls the methods, so its thread runs an event loop, unless these never wait.
  for (const synchronous of [false, true]) {
    const wrapped = new Passing({ ...disk, synchronous });
    assertEquals(wrapped.engine, undefined);
    assertEquals(traitsOf(wrapped), { ...BARE, flush: true, metadata: true, synchronous });
  }
});

Deno.test("traitsOf counts an address only where the thread may block in the kernel", () => {
  using disk = openMemory("1MiB");
  assertEquals(traitsOf(disk).address, true);
  assertEquals(traitsOf({ ...disk, synchronous: false }).address, false);
});
