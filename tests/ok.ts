/**
 * `deno task ok`: everything that can be checked on any machine in some two minutes, as many checks
 * at a time as there are CPUs.
 *
 * One line for each check that is done, and the output of those that failed. The last line counts.
 * It exits with 1 if anything failed, and with 130 when interrupted.
 *
 * @module
 */

import { staticChecks, testArgs, testGroups } from "./checks.ts";
import { runQuietly, stopAll } from "./exec.ts";
import { inLanes } from "./lanes.ts";
import { formatTotals, type Outcome, parseJunit, total } from "./totals.ts";

/** Beside much other work a check takes ten times as long as on an idle machine. */
const LIMIT_MS = 20 * 60_000;
const NOT_DONE = `not done after ${LIMIT_MS / 60_000} minutes`;

/** A check, which keeps one CPU busy: or more, once others leave it any. */
interface Check {
  readonly name: string;
  run(): Promise<Outcome & { output: string }>;
}

/** All checks, the longest first, so that no CPU is idle at the end. */
async function allChecks(): Promise<Check[]> {
  const { exports } = JSON.parse(await Deno.readTextFile("deno.json"));
  return [
    ...testGroups().map((group) => ({
      name: group.name,
      run: () => tested(testArgs(group), group.files),
    })),
    ...staticChecks(Object.values<string>(exports)).map(({ name, runs }) => ({
      name,
      run: () => statically(runs),
    })),
  ];
}

/** Runs Deno as often as is asked for. */
async function statically(runs: readonly (readonly string[])[]) {
  const failed: string[] = [];
  let output = "";
  for (const args of runs) {
    const ran = await runQuietly(Deno.execPath(), args, LIMIT_MS);
    if (ran.code === 0) continue;
    const why = ran.timedOut ? `: ${NOT_DONE}` : "";
    failed.push(`deno ${args.join(" ")}${why}`);
    output += ran.output;
  }
  return { passed: failed.length === 0 ? 1 : 0, failed, skipped: [], output };
}

/** Runs tests, and counts them by their report. */
async function tested(args: readonly string[], files: readonly string[]) {
  const report = await Deno.makeTempFile({ prefix: "ublk-ok-" });
  try {
    const words = [...args.slice(0, 1), `--junit-path=${report}`, ...args.slice(1)];
    const { code, output, timedOut } = await runQuietly(Deno.execPath(), words, LIMIT_MS);
    // No report is written then.
    if (timedOut) {
      return { passed: 0, failed: [NOT_DONE], skipped: [], output };
    }
    const outcome = parseJunit(await Deno.readTextFile(report), files);
    if (code !== 0 && outcome.failed.length === 0) outcome.failed.push(`exit code ${code}`);
    return { ...outcome, output: errorsOf(output) };
  } finally {
    await Deno.remove(report);
  }
}

/** The part of the output of tests that tells of failures. */
function errorsOf(output: string): string {
  const at = output.search(/^.{0,10} ERRORS /m);
  return at < 0 ? output : output.slice(at);
}

/** Runs a check, and prints a line about it. */
async function runCheck(check: Check): Promise<Outcome> {
  const startMs = performance.now();
  const { output, ...outcome } = await check.run().catch((error) => {
    return { passed: 0, failed: [String(error)], skipped: [], output: "" };
  });
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const { passed, failed } = outcome;
  const word = failed.length > 0 ? "FAILED" : "ok";
  const counts = passed + failed.length > 1 ? `, ${formatTotals(total([outcome]))}` : "";
  console.log(`${word.padEnd(6)}  ${check.name} (${seconds} s${counts})`);
  if (failed.length > 0) console.log([...failed.map((what) => `  ${what}`), output].join("\n"));
  return outcome;
}

let interrupted = false;

async function main(): Promise<number> {
  Deno.chdir(new URL("..", import.meta.url));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, () => {
      interrupted = true;
      stopAll();
    });
  }
  const startMs = performance.now();
  const cpus = Math.max(2, navigator.hardwareConcurrency);
  // Many tests wait for a clock. Two at a time per CPU take three quarters of the time.
  Deno.env.set("DENO_JOBS", `${2 * cpus}`);
  const outcomes: Outcome[] = [];
  const jobs = (await allChecks()).map((check) => async () => {
    if (!interrupted) outcomes.push(await runCheck(check));
  });
  await inLanes(jobs, cpus);
  const totals = total(outcomes);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  console.log(`\n${formatTotals(totals)} in ${seconds} s`);
  if (interrupted) return 130;
  return totals.failed > 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
