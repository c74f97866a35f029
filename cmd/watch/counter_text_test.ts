import { assertEquals } from "@std/assert";
import type { CounterReading, CounterRow } from "../../disk/counters.ts";
import { briefRows, counterText, labelledLines } from "./counter_text.ts";

const row = (kind: CounterRow["kind"], unit?: "bytes"): CounterRow => ({
  ...{ name: "x", label: "x", help: "X.", kind, unit },
});

Deno.test("counterText writes each kind of counter in its unit", () => {
  assertEquals(counterText(row("gauge", "bytes"), 1536), "1.5 KiB");
  assertEquals(counterText(row("counter"), 1536), "1536");
  assertEquals(counterText(row("age"), 3.21), "3.2s");
  assertEquals(counterText(row("age"), 0), "0s");
  assertEquals(counterText(row("ratio"), 1.0078), "1.01");
  assertEquals(counterText(row("ratio"), null), "-");
});

Deno.test("counterText + bytes that no server of ours would send + is a number all the same", () => {
  assertEquals(counterText(row("gauge", "bytes"), -5), "-5");
  assertEquals(counterText(row("gauge", "bytes"), 2 ** 60), "1e+18");
});

Deno.test("labelledLines puts texts below each other", () => {
  assertEquals(labelledLines([["a", "1"], ["longer", "2"]]), ["a:       1", "longer:  2"]);
});

Deno.test("briefRows begins another row where the first one is too long for a terminal", () => {
  const names = Array.from({ length: 9 }, (_, nth) => `counter${nth}`);
  const reading: CounterReading = {
    name: "cache",
    rows: names.map((name) => ({ ...row("counter"), name, brief: name })),
    values: Object.fromEntries(names.map((name) => [name, 7])),
  };
  const text = (from: number, to: number) =>
    names.slice(from, to).map((name) => `${name} 7`).join(", ");
  assertEquals(briefRows(reading), [
    { device: " cache", text: text(0, 5) },
    { device: "", text: text(5, 9) },
  ]);
  assertEquals(briefRows({ ...reading, rows: [row("counter")] }), []);
});
