/**
 * The outcome of a step of the test run, and the parsing of the reports it comes from.
 *
 * @module
 */
import { addFailedStep, failureFromJunit } from "../vm/junit.ts";
import type { TestTime } from "./slowest.ts";

/** The outcome of one step. */
export interface Outcome {
  passed: number;
  /** What failed: its name, and in further lines the reason, if that is known; each one counts. */
  failed: string[];
  /** Names of skipped tests; each one counts. */
  skipped: string[];
  /** What the tests took, as far as that is known. */
  times?: readonly TestTime[];
}

/** The three numbers on the last line of a run. */
export interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/** Adds up outcomes. */
export function total(outcomes: Iterable<Outcome>): Totals {
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, failed, skipped } of outcomes) {
    totals.passed += passed;
    totals.failed += failed.length;
    totals.skipped += skipped.length;
  }
  return totals;
}

/** Formats the last line of a run. */
export function formatTotals({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

const SUITE = /<testsuite ([^>]*)>(.*?)<\/testsuite>/gs;
const CASE = /<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs;

/** The value of an attribute. Deno escapes `<`, `>` and `"` in it. */
function attribute(attributes: string, name: string): string | undefined {
  const value = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1];
  return value?.replace(/&(#x?[0-9a-f]+|lt|gt|quot|apos|amp);/gi, (_, entity: string) => {
    const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
    if (!entity.startsWith("#")) return named[entity]!;
    return String.fromCodePoint(Number(entity.slice(1).replace(/^x/i, "0x")));
  });
}

/**
 * Reads the report of `deno test --junit-path`, given the test files it was told to run.
 *
 * - A step inside a test (`t.step`) is a test case of its own in the report, named after its test.
 *   Passed and failed steps are not counted, because their test counts; skipped steps are, because
 *   nothing else reports them.
 * - Tests excluded by `--filter` or by an `only` elsewhere are reported as skipped too, but without a
 *   time. They are not counted.
 * - A file that could not be loaded is missing from the report, and counts as one failure.
 */
export function parseJunit(xml: string, files: readonly string[]): Outcome {
  const outcome: Outcome = { passed: 0, failed: [], skipped: [] };
  const silent = new Set(files);
  for (const [, suiteAttributes, cases] of xml.matchAll(SUITE)) {
    const file = (attribute(suiteAttributes!, "name") ?? "?").replace(/^\.\//, "");
    silent.delete(file);
    const names = new Set<string>();
    for (const [, attributes, body = ""] of cases!.matchAll(CASE)) {
      const name = attribute(attributes!, "name") ?? "?";
      const isStep = hasPrefix(name, names);
      names.add(name);
      if (body.includes("<skipped")) {
        if (attribute(attributes!, "time") !== undefined) outcome.skipped.push(`${file}: ${name}`);
      } else if (body.includes("<failure") || body.includes("<error")) {
        if (isStep) addFailedStep(outcome.failed, `${file}: ${name}`, body);
        else outcome.failed.push(failureFromJunit(`${file}: ${name}`, body));
      } else if (!isStep) {
        outcome.passed++;
      }
    }
  }
  for (const file of silent) outcome.failed.push(`${file}: reported no test`);
  return outcome;
}

/** Reads from such a report what each test took. */
export function junitTimes(xml: string): TestTime[] {
  const times: TestTime[] = [];
  for (const [, suiteAttributes, cases] of xml.matchAll(SUITE)) {
    const suite = (attribute(suiteAttributes!, "name") ?? "?").replace(/^\.\//, "");
    const names = new Set<string>();
    for (const [, attributes] of cases!.matchAll(CASE)) {
      const name = attribute(attributes!, "name") ?? "?";
      const seconds = Number(attribute(attributes!, "time") ?? 0);
      if (!hasPrefix(name, names)) times.push({ file: suite, name, seconds });
      names.add(name);
    }
  }
  return times;
}

/** Whether `name` is "test > step" or "test > step > step" of a test already seen. */
function hasPrefix(name: string, names: ReadonlySet<string>): boolean {
  for (let at = name.indexOf(" > "); at !== -1; at = name.indexOf(" > ", at + 1)) {
    if (names.has(name.slice(0, at))) return true;
  }
  return false;
}
