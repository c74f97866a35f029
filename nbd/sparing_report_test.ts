import { assertEquals } from "@std/assert";
import { sparingReport } from "./sparing_report.ts";

Deno.test("sparingReport + a flood of lines + passes 100 on, then one a second, and counts the rest", () => {
  const lines: string[] = [];
  let nowMs = 5_000;
  const report = sparingReport((line) => lines.push(line), () => nowMs);
  for (let nth = 0; nth < 1_000; nth++) report(`line ${nth}`);
  assertEquals([lines.length, lines[0], lines[99]], [100, "line 0", "line 99"]);
  nowMs += 999;
  report("too soon");
  assertEquals(lines.length, 100);
  nowMs += 1;
  report("a second later");
  report("the same second");
  assertEquals(lines.slice(100), ["a second later (901 more lines were left out before this one)"]);
});

Deno.test("sparingReport + a long silence + passes 100 on again, and no more", () => {
  let count = 0;
  let nowMs = 0;
  const report = sparingReport(() => count++, () => nowMs);
  for (const after of [0, 3_600_000]) {
    nowMs += after;
    count = 0;
    for (let nth = 0; nth < 1_000; nth++) report("line");
    assertEquals(count, 100);
  }
});

Deno.test("sparingReport + a line now and then + leaves none out", () => {
  let count = 0;
  let nowMs = 0;
  const report = sparingReport(() => count++, () => nowMs);
  for (let nth = 0; nth < 10_000; nth++) {
    nowMs += 1_000;
    report("line");
  }
  assertEquals(count, 10_000);
});
