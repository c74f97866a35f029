/**
 * What the guest tells about the selftests, line by line, and what it means: a pass, a failure, or
 * a skip whose reason is known. The scripts skip by exit status 4, mostly without a word, so the
 * reason is found in what a script asks for and in what the guest has.
 *
 * @module
 */
import type { Column, Job, Needs } from "./selftest_plan.ts";

/** One script's run, as the guest told it. */
export interface Run extends Job {
  /** Exit status, or why there is none. */
  readonly status: number | { died: string };
  readonly ms: number;
  /** Devices that it left behind. */
  readonly devices: number;
  /** Processes that were still there seconds later. */
  readonly processes: number;
}

/** What the guest has. */
export interface Facts {
  /** Programs that are not there. */
  readonly lacks: Set<string>;
  /** What `--version` of a program says. */
  readonly versions: Map<string, string>;
  /** What `features` prints, asked of each column's program. */
  readonly features: Map<string, string>;
}

/**
 * What a run came to. `unfit` is a fault of the guest or of this harness, such as a program that
 * is not installed: it is a failure whoever was tested.
 */
export interface Verdict {
  readonly kind: "pass" | "skip" | "fail" | "timeout" | "died" | "unfit";
  readonly reason?: string;
  readonly ms: number;
}

/** What `ksft_skip` is in the kernel's selftests. */
const SKIP_STATUS = 4;

/** What timeout(1) exits with, when SIGTERM was enough and when it took SIGKILL. */
const TIMEOUT_STATUSES: readonly number[] = [124, 137];

/** Facts of a guest that told nothing yet. */
export function noFacts(): Facts {
  return { lacks: new Set(), versions: new Map(), features: new Map() };
}

/** Takes the guest's lines. */
export class RunWatcher {
  /** What the guest has. */
  readonly facts: Facts = noFacts();
  /** The runs that came to an end, in their order. */
  readonly runs: Run[] = [];
  /** What has begun and not ended. */
  current: Job | undefined;

  /** Takes one line. Returns the run that it ended, if it did. */
  take(line: string): Run | undefined {
    const [mark, word, ...values] = line.split("\t");
    if (mark !== "@") return undefined;
    const [first, second, ...numbers] = values;
    switch (word) {
      case "lacks":
        this.facts.lacks.add(first);
        break;
      case "version":
        this.facts.versions.set(first, second);
        break;
      case "features":
        this.facts.features.set(first, second);
        break;
      case "begin":
        this.current = { column: first as Column, script: second };
        break;
      case "end": {
        const [status, ms, devices, processes] = numbers.map(Number);
        this.current = undefined;
        const run = { column: first as Column, script: second, status, ms, devices, processes };
        this.runs.push(run);
        return run;
      }
    }
    return undefined;
  }
}

/** Judges a run by its end, its output, what its script asks for, and what the guest has. */
export function judge(
  run: Run,
  output: string,
  needs: Needs,
  facts: Facts,
  limitMs: number,
): Verdict {
  const { status, ms, devices } = run;
  const verdict = (kind: Verdict["kind"], reason?: string): Verdict => ({ kind, reason, ms });
  if (typeof status !== "number") return verdict("died", status.died);
  if (TIMEOUT_STATUSES.includes(status)) {
    return verdict("timeout", `not done after ${Math.round(limitMs / 1000)} s`);
  }
  if (status === SKIP_STATUS) {
    const known = knownSkip(run.column, output, needs, facts);
    if (known !== undefined) return { ...known, ms };
    return verdict("unfit", "it skips for a reason that knownSkip() does not know: see its log");
  }
  if (status !== 0) return verdict("fail", lastWords(output) ?? `exit status ${status}`);
  const hidden = hiddenFailure(output);
  if (hidden !== undefined) return verdict("fail", hidden);
  if (devices > 0) return verdict("fail", `it left ${devices} device(s) behind`);
  return verdict("pass", run.processes > 0 ? `left ${run.processes} process(es)` : undefined);
}

/**
 * Why a script skipped. A missing program is a fault of the guest; what the kernel or Debian's
 * newest version of a program cannot do is not.
 */
function knownSkip(
  column: Column,
  output: string,
  needs: Needs,
  facts: Facts,
): Omit<Verdict, "ms"> | undefined {
  const missing = needs.programs.filter((name) => facts.lacks.has(name));
  if (missing.length > 0) {
    return { kind: "unfit", reason: `no ${missing.join(", ")} in the guest: install it` };
  }
  const lacking = (who: Column) => {
    const offered = facts.features.get(who) ?? "";
    return needs.features.filter((feature) => !offered.includes(feature));
  };
  const [feature] = lacking("kublk");
  if (feature !== undefined) return { kind: "skip", reason: `the kernel has no ${feature}` };
  const [unsaid] = lacking(column);
  if (unsaid !== undefined) {
    return { kind: "fail", reason: `\`features\` does not name ${unsaid}, which the kernel has` };
  }
  if (output.includes("Requires fio version")) {
    const version = facts.versions.get("fio");
    return { kind: "skip", reason: `it wants fio 3.42 for metadata, and this is ${version}` };
  }
  const trace = output.match(/^\S*(trace\/\w+\.bt):.*?ERROR: (.*)$/m);
  if (trace !== null) {
    const version = facts.versions.get("bpftrace");
    return { kind: "unfit", reason: `${version} cannot load ${trace[1]}: ${trace[2]}` };
  }
  const said = output.match(/^SKIP: (.*)$/m)?.[1];
  if (said === "hugetlbfs not supported") return { kind: "skip", reason: said };
  return said === undefined ? undefined : { kind: "unfit", reason: said };
}

/**
 * What failed in a script that ended with success: those that run several devices at a time do so
 * in subshells, whose failures they print and forget.
 */
function hiddenFailure(output: string): string | undefined {
  const [own, ...others] = output.split("\n").filter((line) => /: \[\w+\]$/.test(line)).reverse();
  if (own === undefined || others.every((line) => line.endsWith("[PASS]"))) return undefined;
  const said = lastWords(output) ?? others[0];
  return `it says it passed, but a part of it did not: ${said}`;
}

/** The last line in which a script says something of its own. */
function lastWords(output: string): string | undefined {
  return output.split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^ublk selftest: |: \[\w+\]$/.test(line))
    .at(-1)?.slice(0, 160);
}
