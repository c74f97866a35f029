import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { checkBackend } from "./shape.ts";

Deno.test("checkBackend names what is wrong with a backend", () => {
  const good = { size: 4096, readAt() {}, writeAt() {} };
  checkBackend(good, "x");
  checkBackend({ ...good, blockSize: 4096, flush() {}, trim: undefined }, "x");
  const wrong: (readonly [unknown, string])[] = [
    ...[[null, "it is null"], [undefined, "it is undefined"], [5, "it is number"]] as const,
    [{ ...good, readAt: 1 }, "`readAt` is not a function"],
    [{ ...good, writeAt: undefined }, "`writeAt` is not a function"],
    ...["flush", "trim", "writeZeroes", "resize", "close"].map((name): [unknown, string] => {
      return [{ ...good, [name]: true }, `\`${name}\` is not a function`];
    }),
    ...[0, -4096, 4095, 1.5, NaN, Infinity, 2 ** 53, "4096", 4096n, undefined].map((
      size,
    ): [unknown, string] => [{ ...good, size }, `size ${size} is not a positive multiple of 512`]),
    [{ ...good, blockSize: 4096, size: 6144 }, "multiple of 4096"],
    ...[0, 256, 513, 8192, "512"].map((blockSize): [unknown, string] => {
      return [{ ...good, blockSize }, `blockSize ${blockSize} is not one of 512, 1024, 2048, 4096`];
    }),
  ];
  for (const [value, words] of wrong) {
    const error = assertThrows(() => checkBackend(value, "it.ts"), UblkError, words);
    assertEquals([error.code, error.operation], ["BACKEND_SHAPE", "backend it.ts"]);
  }
});
