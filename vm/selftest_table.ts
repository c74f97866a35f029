/**
 * The selftests' results side by side, and what they count as.
 *
 * @module
 */
import { noTotals, type Totals } from "./junit.ts";
import type { Column } from "./selftest_plan.ts";
import type { Verdict } from "./selftest_runs.ts";

/** One script's verdicts. */
export type Row = { readonly script: string } & { readonly [column in Column]?: Verdict };

const WORDS: Record<Verdict["kind"], string> = {
  pass: "pass",
  skip: "skip",
  fail: "FAIL",
  timeout: "TIMEOUT",
  died: "DIED",
  unfit: "UNFIT",
};

/** Whether a script counts as passed, failed or skipped, and why. */
export function outcomeOf(row: Row): { kind: "passed" | "failed" | "skipped"; why?: string } {
  const { kublk, ours } = row;
  for (const verdict of [ours, kublk]) {
    if (verdict?.kind === "unfit") return { kind: "failed", why: verdict.reason };
  }
  const judged = ours ?? kublk;
  if (judged === undefined) return { kind: "failed", why: "it was not run" };
  const { kind, reason } = judged;
  if (kind === "pass") return { kind: "passed" };
  const other = judged === ours ? kublk : undefined;
  if (other?.kind === "pass") return { kind: "failed", why: `${reason}; kublk passes` };
  if (kind === "skip") return { kind: "skipped", why: reason };
  if (other === undefined) return { kind: "failed", why: reason };
  // The kernel or the guest cannot do it, whoever serves.
  return { kind: "skipped", why: `${reason}; nor does kublk pass: ${other.reason}` };
}

/** Adds the rows up. */
export function totalsOf(rows: readonly Row[]): Totals {
  const totals = noTotals();
  for (const row of rows) {
    const { kind, why } = outcomeOf(row);
    totals[kind]++;
    const name = why === undefined ? row.script : `${row.script}: ${why}`;
    if (kind === "failed") totals.failures.push(name);
    if (kind === "skipped") totals.skips.push(name);
  }
  return totals;
}

/** The table; a reason stands at the end of its line. */
export function tableText(rows: readonly Row[], columns: readonly Column[]): string {
  const seconds = (ms?: number) => ms === undefined ? "-" : (ms / 1000).toFixed(1);
  const lines = rows.map((row) => [
    row.script,
    ...columns.map((column) => row[column] === undefined ? "-" : WORDS[row[column].kind]),
    columns.map((column) => seconds(row[column]?.ms)).join(" / "),
    columns.flatMap((column) => row[column]?.reason ?? [])
      .filter((reason, index, all) => all.indexOf(reason) === index).join("; "),
  ]);
  const all = [["script", ...columns, "seconds", ""], ...lines];
  const widths = all[0].map((_, index) => Math.max(...all.map((cells) => cells[index].length)));
  return all
    .map((cells) => cells.map((cell, index) => cell.padEnd(widths[index])).join("  ").trimEnd())
    .join("\n");
}

/** `ours: 40 pass, 2 skip, 10 fail; kublk: …`. */
export function countsText(rows: readonly Row[], columns: readonly Column[]): string {
  return columns.toReversed().map((column) => {
    const kinds = rows.flatMap((row) => row[column]?.kind ?? []);
    const count = (...wanted: Verdict["kind"][]) => kinds.filter((k) => wanted.includes(k)).length;
    const failed = count("fail", "timeout", "died", "unfit");
    return `${column}: ${count("pass")} pass, ${count("skip")} skip, ${failed} fail`;
  }).join("; ");
}
