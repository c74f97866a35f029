/**
 * True totals of a `deno test` run.
 *
 * Deno's JUnit file alone is not enough: it counts steps as tests, lists tests that a filter left
 * out as skipped (those have no `time`), does not mention a module that failed to load, and is
 * not written at all when the run dies. So the file is read for what it says, and compared with
 * the files that should be in it and with what Deno printed.
 *
 * @module
 */

/** What a run came to. Steps are part of their tests, except that an ignored step is a skip. */
export interface Totals {
  /** Tests that passed. */
  passed: number;
  /** Tests that failed, and things that count as a failed test. */
  failed: number;
  /** Tests and steps that were ignored. */
  skipped: number;
  /** What failed: its name, and in further lines the reason, if that is known. */
  failures: string[];
  /** Names of what was skipped. */
  skips: string[];
}

/** Totals of nothing. */
export function noTotals(): Totals {
  return { passed: 0, failed: 0, skipped: 0, failures: [], skips: [] };
}

// deno-lint-ignore no-control-regex -- the escape character is what is looked for.
const ANSI = /\x1b\[[0-9;]*m/g;

const ENTITIES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function unescape(text: string): string {
  return text.replaceAll(/&(lt|gt|amp|quot|apos);/g, (_, name) => ENTITIES[name]);
}

function attribute(tag: string, name: string): string | undefined {
  const value = tag.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1];
  return value === undefined ? undefined : unescape(value);
}

function fail(totals: Totals, name: string): void {
  totals.failed++;
  totals.failures.push(name);
}

function skip(totals: Totals, name: string): void {
  totals.skipped++;
  totals.skips.push(name);
}

/** Most lines of a failure that are told. */
const REASON_LINES = 25;

/**
 * A failed test or step with the first lines of the reason. They are told at the end of a run: of a long
 * output often only the end is kept.
 *
 * @param result What a JUnit file has in `<testcase>`.
 */
export function failureFromJunit(name: string, result: string): string {
  const text = /<(failure|error)\b[^>]*>(.*?)<\/\1>/s.exec(result)?.[2] ?? "";
  const lines = unescape(text).replaceAll(ANSI, "").split("\n").map((line) => line.trimEnd());
  return [name, ...lines.filter((line) => line !== "").slice(0, REASON_LINES)].join("\n");
}

/** Adds the reason of a failed step to its test's, which comes before it, but not right before it. */
export function addFailedStep(failures: string[], path: string, result: string): void {
  const of = failures.findLastIndex((failure) => path.startsWith(failure.split("\n", 1)[0]));
  if (of >= 0) failures[of] += `\n${failureFromJunit(path, result)}`;
}

/** A test or a step of a JUnit file. */
interface Case {
  readonly file: string;
  readonly name: string;
  /** Undefined: a filter left it out. */
  readonly seconds?: number;
  readonly isStep: boolean;
  readonly result: string;
}

const bare = (path: string) => path.replace(/^\.\//, "");

/** What a JUnit file as Deno writes it has of one test file after the other. */
function* suitesOf(xml: string): Generator<{ file: string; cases: Case[] }> {
  for (const [, suiteTag, body] of xml.matchAll(/<testsuite (.*?)>(.*?)<\/testsuite>/gs)) {
    const file = bare(attribute(suiteTag, "name") ?? "");
    const names = new Set<string>();
    const cases: Case[] = [];
    for (const [, tag, result] of body.matchAll(/<testcase (.*?)>(.*?)<\/testcase>/gs)) {
      const name = attribute(tag, "name") ?? "";
      // A step is called "test > step", and comes after its test.
      const end = name.lastIndexOf(" > ");
      const isStep = end > 0 && names.has(name.slice(0, end));
      const time = attribute(tag, "time");
      const seconds = time === undefined ? undefined : Number(time);
      if (seconds !== undefined) names.add(name);
      cases.push({ file, name, seconds, isStep, result });
    }
    yield { file, cases };
  }
}

/**
 * Counts a JUnit file as Deno writes it. `files` are the test files, as given to Deno: one that is
 * not mentioned did not load, or has no test, and counts as a failure.
 */
export function totalsFromJunit(xml: string, files: readonly string[]): Totals {
  const totals = noTotals();
  const seen = new Set<string>();
  for (const { file, cases } of suitesOf(xml)) {
    seen.add(file);
    for (const { name, seconds, isStep, result } of cases) {
      if (result.includes("<skipped")) {
        if (seconds !== undefined) skip(totals, `${file}: ${name}`);
      } else if (/<(failure|error)\b/.test(result)) {
        if (isStep) addFailedStep(totals.failures, `${file}: ${name}`, result);
        else fail(totals, failureFromJunit(`${file}: ${name}`, result));
      } else if (!isStep) totals.passed++;
    }
  }
  for (const file of files.map(bare)) {
    if (!seen.has(file)) fail(totals, `${file}: did not load, or has no test`);
  }
  return totals;
}

/** What one test took. */
export interface TestTime {
  file: string;
  name: string;
  seconds: number;
}

/** What each test of a JUnit file took, steps within their tests. */
export function timesFromJunit(xml: string): TestTime[] {
  return [...suitesOf(xml)].flatMap(({ cases }) => cases).flatMap((one) => {
    const { file, name, seconds = 0, isStep } = one;
    return isStep ? [] : [{ file, name, seconds }];
  });
}

/** Reads what `deno test` prints, line by line, for what the JUnit file does not say. */
export class OutputWatcher {
  #totals = noTotals();
  #file = "";
  #test = "";
  #failedBySummary: number | undefined;

  /** Takes one line of stdout or stderr. */
  take(line: string): void {
    const text = line.replaceAll(ANSI, "");
    const file = text.match(/^running \d+ tests? from (\S+)/)?.[1];
    if (file !== undefined) this.#file = file.replace(/^\.\//, "");
    // Without a verdict only when the test printed something, or never came to its end.
    this.#test = text.match(/^(\S.*?) \.\.\. ?$/)?.[1] ?? this.#test;
    const [, name, verdict] = text.match(/^(\S.*?) \.\.\. (ok|FAILED|ignored)\b/) ?? [];
    if (verdict !== undefined) this.#test = "";
    if (verdict === "ok") this.#totals.passed++;
    else if (verdict === "FAILED") fail(this.#totals, `${this.#file}: ${name}`);
    else if (verdict === "ignored") skip(this.#totals, `${this.#file}: ${name}`);
    const summary = text.match(/^(?:ok|FAILED) \| \d+ passed.*? \| (\d+) failed/);
    if (summary) this.#failedBySummary = Number(summary[1]);
  }

  /** The totals of a run that left no JUnit file; `reason` is one more failure. */
  withoutJunit(reason: string): Totals {
    const totals = structuredClone(this.#totals);
    const during = this.#test ? `during ${this.#file}: ${this.#test}` : `last in ${this.#file}`;
    fail(totals, this.#file ? `${reason} (${during})` : reason);
    return totals;
  }

  /** Adds to a JUnit file's totals the failures which only Deno's summary counts. */
  complete(totals: Totals): Totals {
    while (totals.failed < (this.#failedBySummary ?? 0)) {
      fail(totals, "a failure outside any test: see the output above");
    }
    return totals;
  }
}
