import { assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { openMemory } from "../tests/memory_disk.ts";
import { UblkError } from "../uapi/error.ts";
import { libc } from "../uring/libc.ts";
import { open, zoned } from "../backends/zoned.ts";
import { packError, stackText, traitsOf, unpackError } from "./messages.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
libc();

Deno.test("packError takes a UblkError through a clone as it was", () => {
  const errors = [
    new UblkError("BACKEND_OPEN", { operation: "open x" }),
    new UblkError("THREAD_FAILED", {
      ...{ operation: "FETCH", reason: "because", hint: "wait", device: 0, queue: 3, errno: 16 },
      cause: new Error("below"),
    }),
  ];
  for (const error of errors) {
    const back = unpackError(structuredClone(packError(error)));
    assertInstanceOf(back, UblkError);
    const { code, operation, reason, hint, device, queue, errno, message } = back;
    assertEquals(
      [code, operation, reason, hint, device, queue, errno, message],
      [
        ...[error.code, error.operation, error.reason, error.hint],
        ...[error.device, error.queue, error.errno, error.message],
      ],
    );
  }
});

Deno.test("packError keeps the words of any other error, and stackText its place", () => {
  const error = new TypeError("odd");
  const back = unpackError(structuredClone(packError(error)));
  assertEquals([back.code, back.reason], ["THREAD_FAILED", "TypeError: odd"]);
  assertMatch(stackText(error), /TypeError: odd\n.*messages_test\.ts/);
});

Deno.test("packError takes whatever was thrown", () => {
  const values = [null, undefined, 5, "text", Symbol("x"), () => {}, { a: 1 }, [1]];
  for (const value of values) {
    assertEquals(unpackError(structuredClone(packError(value))).reason, String(value));
  }
  // Even `String` throws for this one.
  assertMatch(unpackError(packError(Object.create(null))).message, /unprintable/);
});

/** Traits of a backend that has two methods and no more. */
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
  // Then its metadata is read and written through methods, which it does not have.
  const only = { ...disk, ring: { ...ring, forZeroCopyOnly: true } };
  assertEquals(traitsOf(only), { ...BARE, ...own, metadata: false });
  assertEquals(traitsOf(disk, false), BARE);
});

Deno.test("traitsOf counts an address only where the thread may block in the kernel", () => {
  using disk = openMemory("1MiB");
  assertEquals(traitsOf(disk).address, true);
  assertEquals(traitsOf({ ...disk, synchronous: false }).address, false);
});
