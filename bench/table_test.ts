import { assertEquals, assertThrows } from "@std/assert";
import { formatSpread, formatTable, pairwiseRatios, spread } from "./table.ts";

Deno.test("spread() finds the middle of an odd and of an even number of samples", () => {
  assertEquals(spread([3, 1, 10]), { median: 3, min: 1, max: 10, count: 3 });
  assertEquals(spread([4, 1, 2, 10]), { median: 3, min: 1, max: 10, count: 4 });
  assertEquals(spread([7]), { median: 7, min: 7, max: 7, count: 1 });
});

Deno.test("spread() refuses an empty list, and samples that are not finite", () => {
  assertThrows(() => spread([]), RangeError);
  assertThrows(() => spread([1, NaN]), RangeError);
  assertThrows(() => spread([1 / 0]), RangeError);
});

Deno.test("pairwiseRatios() divides neighbours, and refuses lists of different lengths", () => {
  assertEquals(pairwiseRatios([10, 30], [20, 20]), [0.5, 1.5]);
  assertThrows(() => pairwiseRatios([1, 2], [1]), RangeError);
});

Deno.test("formatSpread() omits a spread that rounds to nothing", () => {
  assertEquals(formatSpread(spread([1.001, 1.002, 1.003])), "1.00");
  assertEquals(formatSpread(spread([0.9, 1, 1.25])), "1.00 (0.90–1.25)");
  assertEquals(formatSpread(spread([0.9, 1, 1.25]), 0), "1");
});

Deno.test("formatTable() aligns its columns", () => {
  assertEquals(
    formatTable(["what", "n"], [["a", "1000"], ["longer", "2"]]),
    "| what   | n    |\n| ------ | ---- |\n| a      | 1000 |\n| longer | 2    |",
  );
});
