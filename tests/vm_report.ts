/**
 * Parses the report of `vm/main.ts e2e --json FILE`.
 *
 * @module
 */
import type { TestTime } from "./slowest.ts";
import type { Outcome } from "./totals.ts";

/** The used fields of one kernel's run. */
interface Suite {
  kernel: string;
  passed: number;
  failed: number;
  skipped: number;
  /** Names of failed tests. */
  failures: string[];
  /** Names of skipped tests. */
  skips: string[];
  times?: TestTime[];
}

/** Parses the report: the sum over the kernels, each name prefixed with its kernel. */
export function parseVmReport(json: string): Outcome {
  const { suites } = JSON.parse(json) as { suites?: Suite[] };
  if (!Array.isArray(suites)) throw new TypeError("the VM's report has no suites");
  const times: TestTime[] = [];
  const outcome: Outcome = { passed: 0, failed: [], skipped: [], times };
  for (const { kernel, passed, failed, skipped, failures, skips, times: own = [] } of suites) {
    for (const count of [passed, failed, skipped]) {
      if (!Number.isSafeInteger(count)) throw new TypeError(`no totals for Linux ${kernel}`);
    }
    outcome.passed += passed;
    times.push(...own);
    outcome.failed.push(...named(failures, failed, kernel));
    outcome.skipped.push(...named(skips, skipped, kernel));
  }
  return outcome;
}

/**
 * Returns at least as many names as the report counts. There may be more: the VM's side names ignored
 * steps of a test without counting them, but here they count, as in `parseJunit`.
 */
function named(names: readonly string[], count: number, kernel: string): string[] {
  const length = Math.max(count, names.length);
  return Array.from({ length }, (_, index) => {
    return `Linux ${kernel}: ${names[index] ?? "a test without a name"}`;
  });
}
