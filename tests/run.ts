/**
 * The one test command: `deno task test`.
 *
 * Runs every step even after one failed, two at a time, each line of their output with the step's
 * label before it. Lists at the end what failed, what was skipped and what took longest. Its last
 * line is always `N passed, N failed, N skipped`. It exits with 1 if anything failed or if a
 * step executed no test at all, and with 130 when interrupted.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { stopAll } from "./exec.ts";
import { ensurePackages } from "./host.ts";
import { inLanes } from "./lanes.ts";
import { formatSlowest } from "./slowest.ts";
import { allSteps, fetchAhead, type Group, GROUPS, type Run, type Step } from "./steps.ts";
import { formatTotals, type Outcome, total } from "./totals.ts";

const USAGE = `Usage: deno task test [--only GROUP,…] [--filter NAME] [--lanes N]

  --only GROUP,…  run only these groups: ${GROUPS.join(", ")}
                  (default: all)
  --filter NAME   run only tests whose name contains NAME (or matches /NAME/);
                  alone it means --only unit,integration
  --lanes N       run so many steps at the same time (default: 2, or 1 on one CPU)`;

/** The default of `--lanes`: most steps are one busy CPU each. */
const LANES = Math.min(2, navigator.hardwareConcurrency);

/** Under `deno task` one Ctrl-C arrives twice within 2 ms; only a later one means impatience. */
const SECOND_SIGNAL_MS = 1_000;

interface Options {
  groups: ReadonlySet<Group>;
  filter?: string;
  lanes: number;
}

function parseOptions(args: string[]): Options {
  const unknown: string[] = [];
  const options = parseArgs(args, {
    boolean: ["help"],
    string: ["only", "filter", "lanes"],
    unknown: (arg) => {
      unknown.push(arg);
      return false;
    },
  });
  if (options.help) {
    console.log(USAGE);
    Deno.exit(0);
  }
  const standard = options.filter === undefined ? GROUPS.join() : "unit,integration";
  const groups = (options.only ?? standard).split(",");
  unknown.push(...groups.filter((group) => !(GROUPS as readonly string[]).includes(group)));
  const lanes = Number(options.lanes ?? LANES);
  if (!(Number.isSafeInteger(lanes) && lanes > 0)) unknown.push(`--lanes ${options.lanes}`);
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(", ")}\n\n${USAGE}`);
    Deno.exit(2);
  }
  return { groups: new Set(groups as Group[]), filter: options.filter, lanes };
}

/** Ends the running steps on a signal; the lanes see the flag and go no further. */
function watchSignals(): { interrupted: boolean } {
  const state = { interrupted: false };
  let firstMs = 0;
  const onSignal = () => {
    if (state.interrupted && performance.now() - firstMs < SECOND_SIGNAL_MS) return;
    stopAll(state.interrupted);
    if (!state.interrupted) firstMs = performance.now();
    state.interrupted = true;
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, onSignal);
  }
  return state;
}

async function runStep(step: Step, how: Run, filter?: string): Promise<Outcome> {
  console.log(`\n── ${step.name}`);
  const startMs = performance.now();
  let outcome: Outcome;
  try {
    outcome = await step.run(how);
  } catch (error) {
    outcome = { passed: 0, failed: [String(error)], skipped: [] };
  }
  if (filter === undefined && outcome.passed + outcome.failed.length === 0) {
    outcome.failed.push("no test was executed");
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`── ${step.name}: ${formatTotals(total([outcome]))} (${seconds} s)`);
  return outcome;
}

function list(title: string, outcomes: Map<string, Outcome>, which: "failed" | "skipped"): void {
  const lines = [...outcomes].flatMap(([name, outcome]) =>
    outcome[which].map((what) => `  ${name}: ${what.replaceAll("\n", "\n      ")}`)
  );
  if (lines.length > 0) console.log([`\n${title}`, ...lines].join("\n"));
}

async function main(): Promise<number> {
  const { groups, filter, lanes } = parseOptions(Deno.args);
  // Or guests of this run would wait for one another.
  if (lanes > LANES) Deno.env.set("UBLK_VM_AT_ONCE", `${lanes}`);
  Deno.chdir(new URL("..", import.meta.url));
  const state = watchSignals();
  const steps = (await allSteps(filter)).filter(({ group }) => groups.has(group));
  const isAlone = lanes === 1 || steps.length === 1;
  const packages = ensurePackages(groups, isAlone ? undefined : "packages");
  // Both beside the steps that need nothing of it: on a fresh machine they take a minute or two.
  const fetching = packages.then(() =>
    isAlone || state.interrupted ? undefined : fetchAhead(groups)
  );
  // Two suites for each CPU, since many wait for a clock. Beside a guest they are as many: the guest
  // keeps to a CPU, and most of the time they come when it has ended.
  Deno.env.set("DENO_JOBS", `${2 * Math.max(2, navigator.hardwareConcurrency)}`);
  const outcomes = new Map<string, Outcome>();
  const jobs = steps.map((step) => async (lane: number) => {
    if (isAlone || !step.needsNothing) await packages;
    if (state.interrupted) return;
    const onCpu = lane % navigator.hardwareConcurrency;
    const outcome = await runStep(step, isAlone ? {} : { label: step.label, onCpu }, filter);
    outcomes.set(step.name, outcome);
  });
  await inLanes(jobs, lanes);
  await fetching;
  for (const [name, { times = [] }] of outcomes) {
    const lines = formatSlowest(times);
    if (lines.length > 0) console.log([`\nSlowest of the ${name}:`, ...lines].join("\n"));
  }
  if (filter !== undefined && !state.interrupted) {
    const { passed, failed } = total(outcomes.values());
    if (passed + failed === 0) {
      outcomes.set("filter", { passed: 0, failed: [`no test matches ${filter}`], skipped: [] });
    }
  }
  list("Skipped:", outcomes, "skipped");
  list("Failed:", outcomes, "failed");
  if (state.interrupted) console.log("\nInterrupted: not every step was run.");
  const totals = total(outcomes.values());
  console.log(`\n${formatTotals(totals)}`);
  if (state.interrupted) return 130;
  return totals.failed > 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
