import { assertEquals, assertThrows } from "@std/assert";
import { type Option, OptionError, placeholderOf, readValue } from "./option.ts";

const option = (more: Partial<Option>): Option => ({
  name: "x",
  kind: "text",
  help: "X.",
  ...more,
});

/** Options, given values, and the results. */
const GOOD: readonly [Partial<Option>, unknown, unknown][] = [
  [{ kind: "switch" }, true, true],
  [{ kind: "size" }, "64K", 65536],
  [{ kind: "size" }, 4096, 4096],
  [{ kind: "size", min: 0 }, "0", 0],
  [{ kind: "integer" }, "-7", -7],
  [{ kind: "integer", choices: [0, 1] }, "1", 1],
  [{ kind: "number" }, "0.5", 0.5],
  [{ kind: "time" }, "1.5s", 1500],
  [{ kind: "time" }, 20, 20],
  [{ kind: "range" }, "1M-2M", { offset: 1 << 20, length: 1 << 20 }],
  [{ kind: "range" }, { offset: 0, length: 512 }, { offset: 0, length: 512 }],
  [{ kind: "names", choices: ["a", "b"] }, "a+b", ["a", "b"]],
  [{ kind: "names", choices: ["a", "b"] }, ["b"], ["b"]],
  [{ kind: "text" }, "0", "0"],
  [{ kind: "path" }, "/a/b", "/a/b"],
  [{ kind: "json" }, '{"a":[1]}', { a: [1] }],
  [{ kind: "json" }, { a: 1 }, { a: 1 }],
];

for (const [more, given, expected] of GOOD) {
  Deno.test(`readValue takes ${JSON.stringify(given)} for ${JSON.stringify(more)}`, () => {
    assertEquals(readValue(option(more), given), expected);
  });
}

/** Options, given values, and the causes and remedies. */
const BAD: readonly [Partial<Option>, unknown, string][] = [
  [{ kind: "switch" }, "yes", "yes is neither true nor false; it takes no value"],
  [{ kind: "size" }, "0", '"0" is an empty size: '],
  [{ kind: "size" }, true, "true is not a size; write bytes, with a unit if you like: 4096,"],
  [{ kind: "integer" }, 1.5, "1.5 is not a whole number; give one in digits"],
  [{ kind: "integer", min: 1 }, "0", "0 is out of range; use 1 or more"],
  [{ kind: "integer", min: 1, max: 9 }, 10, "10 is out of range; use 1 to 9"],
  [{ kind: "integer", max: 9 }, 10, "10 is out of range; use 9 or less"],
  [{ kind: "size", multipleOf: 4096 }, "5000", "5000 is not a multiple of 4096; 8192 is"],
  [{ kind: "number" }, "x", '"x" is not a number; give one in digits'],
  [{ kind: "time" }, "soon", '"soon" is not a time; write milliseconds, or a time with a unit'],
  [{ kind: "range" }, "2M-1M", "2M-1M is no range; write FROM-TO in bytes"],
  [{ kind: "names", choices: ["a"] }, "a+c", "a+c is not possible; use some of a, joined by +"],
  [{ kind: "text", choices: ["a", "b"] }, "c", "c is not possible; use one of a, b"],
  [{ kind: "path" }, "", '"" is not possible; give the path of a file'],
  [{ kind: "text" }, 3, "3 is not possible; give a text"],
  [{ kind: "json" }, "{a}", "it is not JSON: "],
];

for (const [more, given, expected] of BAD) {
  Deno.test(`readValue refuses ${JSON.stringify(given)} for ${JSON.stringify(more)}`, () => {
    const error = assertThrows(() => readValue(option(more), given), OptionError);
    const line = error.remedy === undefined ? error.message : `${error.message}; ${error.remedy}`;
    assertEquals([line.slice(0, expected.length), line.includes("\n")], [expected, false]);
  });
}

Deno.test("placeholderOf names a value by its kind, its choices, or as told", () => {
  assertEquals(placeholderOf(option({ kind: "size" })), "SIZE");
  assertEquals(placeholderOf(option({ choices: ["a", "b"] })), "a|b");
  assertEquals(placeholderOf(option({ kind: "integer", placeholder: "ID" })), "ID");
});
