import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { bufferAt, openAllOfLibc } from "../uring/libc.ts";
import { engineMemory } from "./engine_memory.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("engineMemory maps zeroed bytes, and says where they are", () => {
  using memory = engineMemory(5000);
  assertEquals([memory.bytes.length, memory.address % 4096], [5000, 0]);
  assertEquals(memory.bytes, new Uint8Array(5000));
  memory.bytes[4999] = 7;
  assertEquals(new Uint8Array(bufferAt(memory.address, 5000))[4999], 7);
});

Deno.test("engineMemory refuses what is no number of bytes", () => {
  for (const bytes of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => engineMemory(bytes), UblkError, `${bytes} is no number of bytes`);
  }
});
