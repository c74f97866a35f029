import { assertEquals, assertThrows } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { checkBackend } from "./shape.ts";

Deno.test("checkBackend names what is wrong with a backend", () => {
  const good = { size: 4096, readAt() {}, writeAt() {} };
  checkBackend(good, "x");
  const ring = { prepare() {}, complete() {} };
  checkBackend({ ...good, ring, address: 4096 }, "x");
  checkBackend({ ...good, ring: { ...ring, operations: 1, plainFd: 0 } }, "x");
  const engine = { operations: 1, start() {}, request() {}, done() {}, batchEnd() {}, giveUp() {} };
  checkBackend({ ...good, engine }, "x");
  checkBackend({ ...good, engine: { ...engine, operations: 16384, wakeFd: 0, woken() {} } }, "x");
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
    // Each was an assertion of the thread that was to serve it, or an errno of every request.
    ...[0, -4096, 1.5, NaN, "4096", null].map((address): [unknown, string] => {
      return [{ ...good, address }, `address ${address} is none that memory has`];
    }),
    ...[5, null].map((ring): [unknown, string] => [{ ...good, ring }, "`ring` is not an object"]),
    [{ ...good, ring: { complete() {} } }, "`ring.prepare` is not a function"],
    [{ ...good, ring: { prepare() {} } }, "`ring.complete` is not a function"],
    ...[0, -1, 1.5, NaN, "4"].map((operations): [unknown, string] => {
      return [{ ...good, ring: { ...ring, operations } }, `${operations} operations of \`ring\``];
    }),
    ...[-1, 0.5, NaN, "3"].map((plainFd): [unknown, string] => {
      return [{ ...good, ring: { ...ring, plainFd } }, `\`ring.plainFd\` ${plainFd} is no`];
    }),
    ...[5, null].map((engine): [unknown, string] => {
      return [{ ...good, engine }, "`engine` is not an object"];
    }),
    ...["start", "request", "done", "batchEnd", "giveUp"].map((name): [unknown, string] => {
      return [
        { ...good, engine: { ...engine, [name]: 1 } },
        `\`engine.${name}\` is not a function`,
      ];
    }),
    ...[0, -1, 1.5, NaN, 16385, undefined].map((operations): [unknown, string] => {
      return [{ ...good, engine: { ...engine, operations } }, `${operations} operations of`];
    }),
    ...[-1, 0.5, "3"].map((wakeFd): [unknown, string] => {
      return [{ ...good, engine: { ...engine, wakeFd } }, `\`engine.wakeFd\` ${wakeFd} is no`];
    }),
    [{ ...good, engine: { ...engine, wakeFd: 3 } }, "`woken` is not a function"],
    [{ ...good, engine, ring }, "`engine` and `ring` exclude each other"],
    [{ ...good, engine, address: 4096 }, "`engine` and `address` exclude each other"],
    [{ ...good, engine, zones: {} }, "`engine` and `zones` exclude each other"],
    [{ ...good, counters: 5 }, "`counters` is not an object"],
    [{ ...good, warnings: "one" }, "`warnings` is no list of lines"],
    [{ ...good, warnings: [1] }, "`warnings` is no list of lines"],
  ];
  for (const [value, words] of wrong) {
    const error = assertThrows(() => checkBackend(value, "it.ts"), UblkError, words);
    assertEquals([error.code, error.operation], ["BACKEND_SHAPE", "backend it.ts"]);
  }
});
