import { assertEquals, assertThrows } from "@std/assert";
import { BLOCK_SIZES } from "../uapi/block_sizes.ts";
import { geometryOf } from "./geometry.ts";

Deno.test("geometryOf fills in the defaults and reads sizes in words", () => {
  assertEquals(geometryOf({ size: 512 }), { size: 512, blockSize: 512, readOnly: false });
  assertEquals(geometryOf({ size: "1GiB", blockSize: 4096, readOnly: true }), {
    ...{ size: 2 ** 30, blockSize: 4096, readOnly: true },
  });
  const largest = 2 ** 53 - 4096;
  for (const blockSize of BLOCK_SIZES) {
    assertEquals(geometryOf({ size: largest, blockSize }).size, largest);
    assertEquals(geometryOf({ size: blockSize, blockSize }).size, blockSize);
  }
});

Deno.test("geometryOf refuses what is no size, with the remedy", () => {
  for (const size of [0, -512, 0.5, NaN, Infinity, 2 ** 53]) {
    assertThrows(() => geometryOf({ size }), RangeError, `size ${size} is not a positive whole`);
  }
  assertThrows(() => geometryOf({ size: "huge" }), TypeError, "is not a size");
});

Deno.test("geometryOf refuses a size that is not whole blocks, and names the next one that is", () => {
  assertThrows(() => geometryOf({ size: 513 }), RangeError, "block size 512; 1024 is");
  assertThrows(() => geometryOf({ size: 512, blockSize: 4096 }), RangeError, "; 4096 is");
  assertThrows(() => geometryOf({ size: "1000000", blockSize: 4096 }), RangeError, "1003520 is");
});

Deno.test("geometryOf refuses a block size that the block layer does not take", () => {
  for (const blockSize of [0, 1, 256, 1000, 8192, NaN]) {
    const words = `block size ${blockSize} is not one of 512, 1024, 2048, 4096`;
    assertThrows(() => geometryOf({ size: 8192, blockSize }), RangeError, words);
  }
});
