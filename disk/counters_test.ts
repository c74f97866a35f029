import { assertEquals } from "@std/assert";
import { type BackendCounters, type CounterRow, countersFault, readCounters } from "./counters.ts";

const text = { label: "x", help: "X." };
const ROWS: readonly CounterRow[] = [
  { name: "hits", kind: "counter", ...text },
  { name: "misses", kind: "counter", ...text },
  { name: "waitsSeconds", kind: "age", ...text },
  { name: "hitRatio", kind: "ratio", of: ["hits"], per: ["hits", "misses"], ...text },
  { name: "roomBytes", kind: "gauge", unit: "bytes", ...text },
];

function counters(...values: number[]): BackendCounters {
  const memory = new SharedArrayBuffer(8 * ROWS.length);
  new Float64Array(memory).set(values);
  return { name: "cache", rows: ROWS, memory };
}

Deno.test("readCounters reads each row of its own place, and reckons ages and ratios", () => {
  const { name, values } = readCounters(counters(3, 1, 2_000_000, 99, 4096), 5_500_000);
  assertEquals(name, "cache");
  assertEquals(values, { hits: 3, misses: 1, waitsSeconds: 3.5, hitRatio: 0.75, roomBytes: 4096 });
});

Deno.test("readCounters + nothing has happened yet + there is no age, and no ratio", () => {
  assertEquals(readCounters(counters(), 5_500_000).values, {
    ...{ hits: 0, misses: 0, waitsSeconds: 0, hitRatio: null, roomBytes: 0 },
  });
});

Deno.test("readCounters + an event of another thread a moment ago + its age is not negative", () => {
  assertEquals(readCounters(counters(0, 0, 7_000_000), 5_500_000).values.waitsSeconds, 0);
});

Deno.test("countersFault names what is wrong with a backend's counters", () => {
  const good = counters();
  assertEquals(countersFault(good), undefined);
  const rows = (...rows: unknown[]) => ({ ...good, rows, memory: new SharedArrayBuffer(64) });
  const [hits] = ROWS;
  const wrong: (readonly [unknown, string])[] = [
    [null, "`counters` is not an object"],
    [{ ...good, name: "My Cache" }, "`counters.name` is not a word in lower case"],
    [{ ...good, rows: undefined }, "`counters.rows` is not an array"],
    [
      { ...good, memory: new SharedArrayBuffer(32) },
      "`counters.memory` is no SharedArrayBuffer with a double for each of its rows",
    ],
    [
      { ...good, memory: new ArrayBuffer(64) },
      "`counters.memory` is no SharedArrayBuffer with a double for each of its rows",
    ],
    [rows({ ...hits, name: "a b" }), '`counters.rows`: "a b" is no name'],
    [rows(null), "`counters.rows`: undefined is no name"],
    [rows(hits, hits), '`counters.rows`: "hits" is there twice'],
    [rows({ ...hits, help: undefined }), '`counters.rows`: "hits" has no label or no help'],
    [
      rows({ ...hits, kind: "sum" }),
      '`counters.rows`: "hits" is none of counter, gauge, age, ratio',
    ],
    [rows({ ...hits, kind: "ratio" }), '`counters.rows`: "hits" has no `of` and `per`'],
    [
      rows({ ...hits, kind: "ratio", of: ["hits"], per: ["all"] }),
      '`counters.rows`: "hits" divides hits, which is not above it',
    ],
  ];
  for (const [value, words] of wrong) assertEquals(countersFault(value), words);
});
