/** Checks that the figures in `docs/comparison.md` agree with the tables in `docs/benchmarks.md`. */

import { assert, assertStringIncludes } from "@std/assert";
import { pageText } from "./snippets.ts";

const PAGE = pageText("docs/comparison.md").replaceAll("\n", " ");

/** A row: the compared disks, the median ratio, and the CPU times of the serving threads. */
const ROWS = pageText("docs/benchmarks.md").split("\n").filter((line) =>
  /^\| ublk-\S+ : /.test(line)
)
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .map((cells) => ({
    pair: cells[1],
    median: Number(/^[\d.]+/.exec(cells[3])![0]),
    serverNs: cells[6].split(" : ").map(Number),
  }));

function range(pairs: RegExp): [number, number] {
  const medians = ROWS.filter(({ pair }) => pairs.test(pair)).map(({ median }) => median);
  assert(medians.length >= 4, `rows of ${pairs}`);
  return [Math.min(...medians), Math.max(...medians)];
}

Deno.test("docs/comparison.md + against kublk + the lowest and highest median are in the table", () => {
  const [low, high] = range(/kublk-(null|null-batch|file|file-zc)$/);
  assertStringIncludes(PAGE, `the median rate is ${low} to ${high} of \`kublk\`'s`);
});

Deno.test("docs/comparison.md + against the kernel's loop + likewise, in two digits", () => {
  const [low, high] = range(/kernel-loop$/);
  assertStringIncludes(PAGE, `our RAM disk reached ${low.toFixed(2)} to ${high.toFixed(2)} of`);
});

Deno.test("docs/comparison.md + our serving thread alone + takes so much on null, and less on files", () => {
  const parts = (pairs: RegExp) =>
    ROWS.filter(({ pair }) => pairs.test(pair)).map(({ serverNs: [ours, theirs] }) =>
      ours / theirs
    );
  const onNull = parts(/kublk-null/);
  const [low, high] = [Math.min(...onNull), Math.max(...onNull)].map((part) => part.toFixed(2));
  const words = `${low} to ${high} times as much as \`kublk\`'s on null, and less on files`;
  assertStringIncludes(PAGE, words);
  assert(parts(/kublk-file/).every((part) => part < 1));
});
