import { assertEquals } from "@std/assert";
import type { Verdict } from "./selftest_runs.ts";
import { countsText, outcomeOf, type Row, tableText, totalsOf } from "./selftest_table.ts";

const PASS: Verdict = { kind: "pass", ms: 1000 };
const SKIP: Verdict = { kind: "skip", reason: "old fio", ms: 500 };
const FAIL: Verdict = { kind: "fail", reason: "slow", ms: 20_000 };
const UNFIT: Verdict = { kind: "unfit", reason: "no fio", ms: 0 };

const ROWS: Row[] = [
  { script: "a_01", kublk: PASS, ours: PASS },
  { script: "b_01", kublk: PASS, ours: FAIL },
  { script: "c_01", kublk: SKIP, ours: SKIP },
  { script: "d_01", kublk: { ...FAIL, reason: "busy" }, ours: FAIL },
];

Deno.test("outcomeOf fails what kublk passes and ours does not", () => {
  assertEquals(ROWS.map((row) => outcomeOf(row).kind), ["passed", "failed", "skipped", "skipped"]);
  assertEquals(outcomeOf({ script: "e", kublk: PASS, ours: SKIP }).kind, "failed");
  assertEquals(outcomeOf(ROWS[3]).why, "slow; nor does kublk pass: busy");
});

Deno.test("outcomeOf judges one column by itself", () => {
  assertEquals(outcomeOf({ script: "e", ours: FAIL }), { kind: "failed", why: "slow" });
  assertEquals(outcomeOf({ script: "e", kublk: FAIL }).kind, "failed");
  assertEquals(outcomeOf({ script: "e", kublk: SKIP }).kind, "skipped");
});

Deno.test("outcomeOf fails an unfit guest whoever else fails in it", () => {
  assertEquals(outcomeOf({ script: "e", kublk: UNFIT, ours: UNFIT }).kind, "failed");
  assertEquals(outcomeOf({ script: "e", kublk: UNFIT, ours: PASS }).kind, "failed");
});

Deno.test("totalsOf names what failed and what was skipped", () => {
  assertEquals(totalsOf(ROWS), {
    passed: 1,
    failed: 1,
    skipped: 2,
    failures: ["b_01: slow; kublk passes"],
    skips: ["c_01: old fio", "d_01: slow; nor does kublk pass: busy"],
  });
});

Deno.test("tableText and countsText set the columns side by side", () => {
  assertEquals(
    tableText([ROWS[1], { script: "e_01", ours: PASS }], ["kublk", "ours"]),
    `script  kublk  ours  seconds
b_01    pass   FAIL  1.0 / 20.0  slow
e_01    -      pass  - / 1.0`,
  );
  assertEquals(
    countsText(ROWS, ["kublk", "ours"]),
    "ours: 1 pass, 1 skip, 2 fail; kublk: 2 pass, 1 skip, 1 fail",
  );
});
