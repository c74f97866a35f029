/**
 * Runs selftests in a guest, and in another one whenever a script takes its guest with it.
 *
 * @module
 */
import { say, VmError } from "./host.ts";
import { shellQuote } from "./initramfs.ts";
import type { KernelName } from "./kernels.ts";
import { bootGuest, type GuestOptions, type GuestResult } from "./qemu.ts";
import type { Job } from "./selftest_plan.ts";
import { type Facts, type Run, RunWatcher } from "./selftest_runs.ts";

/** What is the same for all guests of one run. */
export interface SelftestBed {
  readonly kernel: KernelName;
  /** The folder of the selftests, with `kublk`. */
  readonly dir: string;
  /** What runs `bpftrace`. */
  readonly bpftrace: readonly string[];
  /** The shell script that stands in `kublk`'s place in the column "ours". */
  readonly program?: string;
  /** What each script may take. */
  readonly limitMs: number;
  /** `/results` of the guests: the plan goes in, each script's output comes out. */
  readonly resultsDir: string;
  readonly guest: Partial<GuestOptions>;
  /** Told of each run when it has ended. */
  readonly onRun: (run: Run, facts: Facts) => void;
}

/** The exit status of `guest/selftests.sh` when a device could not be deleted. */
const EXIT_WEDGED = 75;
/** For a script's cleaning up, beside its limit. */
const CLEANING_MS = 90_000;
/** Some scripts count queues or jobs by CPUs; `kublk`'s known results are those with two. */
const CPUS = 2;

/** Runs all jobs in their order; returns what the kernel complained about meanwhile. */
export async function runJobs(bed: SelftestBed, jobs: readonly Job[]): Promise<string[]> {
  const complaints: string[] = [];
  await writeProgram(
    bed,
    "bpftrace",
    `#!/bin/sh\nexec ${bed.bpftrace.map(shellQuote).join(" ")} "$@"\n`,
  );
  if (bed.program !== undefined) await writeProgram(bed, "kublk-ours", bed.program);
  for (let rest = [...jobs]; rest.length > 0;) {
    const watcher = new RunWatcher();
    const result = await boot(bed, rest, watcher);
    complaints.push(...result.kernelComplaints);
    rest = rest.slice(watcher.runs.length);
    const victim = watcher.current;
    if (victim !== undefined) {
      const died = result.reason ?? `the guest's script ended with ${result.status} under it`;
      const run = { ...victim, status: { died }, ms: bed.limitMs, devices: 0, processes: 0 };
      bed.onRun(run, watcher.facts);
      rest.shift();
    } else if (rest.length > 0 && result.status !== EXIT_WEDGED) {
      throw new VmError(
        `the guest ran no selftest: ${result.reason ?? `exit status ${result.status}`}; ` +
          `see ${bed.resultsDir}/console.log`,
      );
    }
    if (rest.length > 0) say("booting anew: a device could not be deleted, or the guest died");
  }
  return complaints;
}

async function boot(
  bed: SelftestBed,
  jobs: readonly Job[],
  watcher: RunWatcher,
): Promise<GuestResult> {
  const plan = jobs.map(({ column, script }) => `${column}\t${script}\n`).join("");
  await Deno.writeTextFile(`${bed.resultsDir}/plan`, plan);
  const seconds = Math.ceil(bed.limitMs / 1000);
  let begunAt = 0;
  return await bootGuest({
    cpus: CPUS,
    ...Object.fromEntries(Object.entries(bed.guest).filter(([, value]) => value !== undefined)),
    kernel: bed.kernel,
    command: ["bash", `${import.meta.dirname}/guest/selftests.sh`, bed.dir, String(seconds)],
    timeoutMs: jobs.length * (bed.limitMs + CLEANING_MS) + CLEANING_MS,
    silenceMs: bed.limitMs + CLEANING_MS,
    bundles: true,
    resultsDir: bed.resultsDir,
    onLine(line) {
      const run = watcher.take(line);
      if (line.startsWith("@\tbegin\t")) begunAt = performance.now();
      // By this clock, since an emulated guest's runs wrong when the host is busy as it boots.
      const ms = performance.now() - begunAt;
      if (run !== undefined) bed.onRun({ ...run, ms }, watcher.facts);
      else if (!line.startsWith("@\t")) say(`guest: ${line}`);
    },
  });
}

async function writeProgram(bed: SelftestBed, name: string, script: string): Promise<void> {
  await Deno.writeTextFile(`${bed.resultsDir}/${name}`, script);
}
