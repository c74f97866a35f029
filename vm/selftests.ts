/**
 * The kernel's own ublk selftests against this project's `ublk`, which takes `kublk`'s place, and
 * against `kublk` itself beside it: what it cannot do either is not this project's fault.
 *
 * @module
 */
import type { CommandLine } from "./args.ts";
import { ensureBpftrace } from "./bpftrace.ts";
import { say, VmError } from "./host.ts";
import type { Totals } from "./junit.ts";
import { ensureKublk } from "./kublk.ts";
import { ensureHostPackages, SELFTEST_PACKAGE_NAMES } from "./packages.ts";
import type { GuestOptions } from "./qemu.ts";
import { runJobs, type SelftestBed } from "./selftest_guest.ts";
import { type Column, type Job, needsOf, scriptNames, selectScripts } from "./selftest_plan.ts";
import { ourProgram, programOf } from "./selftest_program.ts";
import { type Facts, judge, type Run } from "./selftest_runs.ts";
import { countsText, type Row, tableText, totalsOf } from "./selftest_table.ts";

/** What `--json` writes: as of the end-to-end tests, and the rows. */
export interface SelftestReport {
  suites: (Totals & { kernel: string })[];
  rows: readonly Row[];
}

const COLUMNS: readonly Column[] = ["kublk", "ours"];

/** Verdicts as they come in. */
class Rows {
  readonly #rows: Map<string, { script: string } & Record<string, unknown>>;

  constructor(scripts: readonly string[]) {
    this.#rows = new Map(scripts.map((script) => [script, { script }]));
  }

  set(column: Column, script: string, verdict: Row[Column]): void {
    this.#rows.get(script)![column] = verdict;
  }

  all(): Row[] {
    return [...this.#rows.values()] as Row[];
  }
}

function columnsOf(against: string): Column[] {
  if (against === "both") return [...COLUMNS];
  const column = COLUMNS.find((known) => known === against);
  if (column === undefined) throw new VmError(`--against what? ours, kublk or both`);
  return [column];
}

/** Runs what the command line asks for; returns the exit status. */
export async function runSelftests(
  line: CommandLine,
  guest: Partial<GuestOptions>,
): Promise<number> {
  // A run that fails early must not leave an earlier run's totals.
  if (line.json !== undefined) await Deno.writeTextFile(line.json, "");
  // The short list is for the question whether ours is worse: kublk runs only where ours failed.
  const short = line.list === "ci" && line.against === undefined;
  const columns = columnsOf(line.against ?? "both");
  await ensureHostPackages();
  await ensureHostPackages(SELFTEST_PACKAGE_NAMES);
  const kublk = await ensureKublk(guest.signal);
  const bpftrace = await ensureBpftrace(guest.signal);
  const files = [...Deno.readDirSync(kublk.dir)].map(({ name }) => name);
  const scripts = selectScripts(scriptNames(files), line);
  const resultsDir = line.resultsDir ?? await Deno.makeTempDir({ prefix: "ublk-vm-results-" });
  await Deno.mkdir(resultsDir, { recursive: true });
  const rows = new Rows(scripts);
  const bed: SelftestBed = {
    kernel: line.kernels[0],
    dir: kublk.dir,
    bpftrace,
    program: !columns.includes("ours")
      ? undefined
      : line.command.length > 0
      ? programOf(line.command)
      : await ourProgram(),
    limitMs: line.timeoutMs,
    resultsDir,
    guest,
    onRun(run, facts) {
      const verdict = judgeFiles(bed, run, facts);
      const reason = verdict.reason === undefined ? "" : `: ${verdict.reason}`;
      console.log(
        `${run.script} (${run.column}) ... ${verdict.kind}${reason} (${
          Math.round(run.ms / 1000)
        } s)`,
      );
      rows.set(run.column, run.script, verdict);
    },
  };
  const job = (column: Column) => (script: string): Job => ({ column, script });
  const jobs = short
    ? scripts.map(job("ours"))
    : scripts.flatMap((script) => columns.map((column) => job(column)(script)));
  console.log(`\n== ${scripts.length} selftests of ${kublk.version} on Linux ${bed.kernel}\n`);
  const complaints = await runJobs(bed, jobs);
  if (short) {
    const doubtful = rows.all().filter(({ ours }) => ours?.kind !== "pass");
    const again = doubtful.map(({ script }) => script).map(job("kublk"));
    complaints.push(...await runJobs(bed, again));
  }
  console.log(`\n${tableText(rows.all(), columns)}\n`);
  for (const complaint of complaints) console.log(`kernel: ${complaint}`);
  console.log(countsText(rows.all(), columns));
  return await report(line, rows.all(), resultsDir);
}

function judgeFiles(bed: SelftestBed, run: Run, facts: Facts) {
  const read = (path: string) => {
    try {
      return Deno.readTextFileSync(path);
    } catch {
      return ""; // The guest died before it made the file.
    }
  };
  const output = read(`${bed.resultsDir}/${run.column}/${run.script}.log`);
  const needs = needsOf(read(`${bed.dir}/test_${run.script}.sh`));
  return judge(run, output, needs, facts, bed.limitMs);
}

async function report(
  line: CommandLine,
  rows: readonly Row[],
  resultsDir: string,
): Promise<number> {
  const totals = totalsOf(rows);
  for (const name of totals.failures) console.log(`  failed: ${name}`);
  for (const name of totals.skips) console.log(`  skipped: ${name}`);
  if (totals.failed > 0) console.log(`  see ${resultsDir}/ours, kublk and console.log beside them`);
  else if (line.resultsDir === undefined) await Deno.remove(resultsDir, { recursive: true });
  console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  if (line.json !== undefined) {
    const json: SelftestReport = { suites: [{ kernel: line.kernels[0], ...totals }], rows };
    await Deno.writeTextFile(line.json, JSON.stringify(json, null, 2) + "\n");
    say(`totals in ${line.json}`);
  }
  return totals.failed > 0 ? 1 : 0;
}
