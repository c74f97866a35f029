/**
 * The steps of the test run, in the order in which lanes take them: what each one runs, and what came
 * of it.
 *
 * @module
 */
import { staticChecks, testArgs, testFiles, type TestGroup, testGroups } from "./checks.ts";
import { type Ran, run } from "./exec.ts";
import { junitTimes, type Outcome, parseJunit } from "./totals.ts";
import { parseVmReport } from "./vm_report.ts";

/** The groups that `--only` knows. */
export const GROUPS = ["static", "unit", "integration", "ceph", "e2e", "selftests"] as const;

/** A group of steps. */
export type Group = typeof GROUPS[number];

/** One step. */
export interface Step {
  name: string;
  group: Group;
  /** Stands before each line of its output where other steps run at the same time. */
  label: string;
  /** Whether it can do without Debian's packages: then it need not wait until they are there. */
  readonly needsNothing: boolean;
  /** Runs it. It never throws for what its program does. */
  run(how: Run): Promise<Outcome>;
}

/** How a step runs. */
export interface Run {
  /** Stands before each line of output; without, the output is passed on as it is. */
  readonly label?: string;
  /** The CPU of this machine that an emulated guest is to stay on, since others work beside it. */
  readonly onCpu?: number;
}

const MINUTE_MS = 60_000;
const STATIC_LIMIT_MS = 5 * MINUTE_MS;
const UNIT_LIMIT_MS = 15 * MINUTE_MS;
const INTEGRATION_LIMIT_MS = 15 * MINUTE_MS;
/** Ceph's packages: some 600 MB unpacked. `vm/ceph.ts` gives up before. */
const CEPH_INSTALL_LIMIT_MS = 5 * MINUTE_MS;
const CEPH_LIMIT_MS = 5 * MINUTE_MS;
/**
 * For the command in a guest. Emulated where there is no KVM, beside other work: a suite of 23 to 33
 * minutes on one machine was not done after 60 on another. The whole run has 90.
 */
const GUEST_LIMIT_MS = 72 * MINUTE_MS;
/** With a first download of the kernel. */
const E2E_LIMIT_MS = GUEST_LIMIT_MS + 5 * MINUTE_MS;
/** The short list, and what it needs: a first download of the kernel's sources and of bpftrace. */
const SELFTESTS_LIMIT_MS = 25 * MINUTE_MS;
const FETCH_LIMIT_MS = 20 * MINUTE_MS;

/** All steps, for the project in the current folder. */
export async function allSteps(filter?: string): Promise<Step[]> {
  const { exports } = JSON.parse(await Deno.readTextFile("deno.json"));
  const doors = Object.values<string>(exports);
  const unit = testGroups().map((group) => testStep("unit", UNIT_LIMIT_MS, group, filter));
  const [longest, ...others] = unit.filter(({ needsNothing }) => !needsNothing);
  return [
    // First what needs nothing: on a fresh machine packages and kernels are still on their way, and
    // the first of the unit tests fill the lane that does not wait for a kernel.
    ...staticChecks(doors).map(({ name, runs }) => staticStep(name, ...runs)),
    ...unit.filter(({ needsNothing }) => needsNothing),
    longest,
    // Then the longest first, so that both lanes end at about the same time.
    vmStep("end-to-end tests on Linux 7.2", "7.2", ["--kernel", "7.2", ...ONCE], filter),
    vmStep("end-to-end tests on Linux 6.12", "6.12", ["--kernel", "6.12", ...ONCE], filter),
    selftestsStep("the kernel's selftests", filter),
    ...others,
    testStep("integration", INTEGRATION_LIMIT_MS, {
      name: "integration tests",
      files: testFiles("tests/integration/"),
      parallel: false,
    }, filter),
    cephStep("volumes in Ceph", filter),
    vmStep("end-to-end tests on NUMA nodes", "numa", E2E_ON_NUMA_NODES, filter),
  ];
}

/** A check that passes or fails as a whole, of one run of Deno or several. */
function staticStep(name: string, ...runs: (readonly string[])[]): Step {
  return {
    name,
    group: "static",
    label: name,
    needsNothing: true,
    async run({ label }) {
      const failed: string[] = [];
      for (const args of runs) {
        const ran = await deno(args, STATIC_LIMIT_MS, label);
        const failure = describeFailure(ran, STATIC_LIMIT_MS);
        if (failure !== undefined) failed.push(`deno ${args.join(" ")}: ${failure}`);
      }
      return { passed: failed.length === 0 ? 1 : 0, failed, skipped: [] };
    },
  };
}

/** A run of `deno test`, counted by its JUnit report. */
function testStep(
  group: "unit" | "integration" | "ceph",
  limitMs: number,
  tests: TestGroup,
  filter?: string,
): Step {
  const { name, files, needsNothing = false } = tests;
  return {
    name,
    group,
    label: group,
    needsNothing,
    async run({ label }) {
      if (files.length === 0) return { passed: 0, failed: [], skipped: [] };
      return await reported(
        (report) => {
          const options = filter === undefined ? [] : [`--filter=${filter}`];
          const args = testArgs(tests, `--junit-path=${report}`, ...options);
          return deno(args, limitMs, label);
        },
        (text) => ({ ...parseJunit(text, files), times: junitTimes(text) }),
        limitMs,
      );
    },
  };
}

/** The short list of volumes in S3. Ceph is fetched first. Without it the step fails. */
function cephStep(name: string, filter?: string): Step {
  const step = testStep("ceph", CEPH_LIMIT_MS, {
    name,
    files: ["tests/ceph/ceph_test.ts"],
    parallel: false,
    args: ["--seeds", "6"],
  }, filter);
  return {
    ...step,
    async run(how) {
      const ran = await fetchCeph(how.label);
      const failure = describeFailure(ran, CEPH_INSTALL_LIMIT_MS);
      if (failure === undefined) return await step.run(how);
      return { passed: 0, failed: [`Ceph could not be fetched: ${failure}`], skipped: [] };
    },
  };
}

function fetchCeph(label: string | undefined): Promise<Ran> {
  return deno(["run", "-A", "vm/ceph.ts"], CEPH_INSTALL_LIMIT_MS, label);
}

/**
 * Suites of what is alike on every kernel: command lines, signals, logging, programs around it,
 * filesystems. One kernel is enough for them here, chosen so that both lanes are done at about the
 * same time; `deno task vm-e2e` runs all on both.
 */
const ON_ONE_KERNEL = {
  "bench_smoke_test.ts": "6.12",
  "block_device_test.ts": "7.2",
  "command_test.ts": "6.12",
  "data_test.ts": "6.12",
  "demo_test.ts": "6.12",
  "docs_test.ts": "6.12",
  "engine_test.ts": "7.2",
  "failure_test.ts": "6.12",
  "fs_test.ts": "6.12",
  "idle_test.ts": "7.2",
  "life_test.ts": "6.12",
  "log_test.ts": "7.2",
  "many_devices_test.ts": "6.12",
  "misbehaving_test.ts": "6.12",
  "nbd_test.ts": "6.12",
  "permissions_test.ts": "6.12",
  "power_test.ts": "7.2",
  "readme_test.ts": "6.12",
  // On 6.12 the same operations of the ring serve files in paths_test.ts, and volumes; and the tests
  // of uring/ run on this machine's own kernel.
  "ring_backend_test.ts": "7.2",
  "running_test.ts": "7.2",
  "semantics_test.ts": "6.12",
  "systemd_test.ts": "7.2",
  "tutorial_test.ts": "7.2",
  "ublk_test.ts": "7.2",
  "volume_s3_test.ts": "6.12",
  "volume_snapshots_test.ts": "6.12",
  "volume_test.ts": "7.2",
  "watch_test.ts": "7.2",
  "wrappers_test.ts": "7.2",
  "zip_test.ts": "6.12",
};

/** Tells `vm/main.ts e2e` of them. */
const ONCE = [
  "--once",
  Object.entries(ON_ONE_KERNEL).map((entry) => entry.join("@")).join(),
];

/** What takes a machine of its own. */
const E2E_ON_NUMA_NODES = ["--kernel", "7.2", "--nodes", "2", "--files", "tests/numa/"];

/** Tests inside VMs, counted by the report that `vm/main.ts` writes. */
function vmStep(
  name: string,
  label: string,
  words: readonly string[],
  filter?: string,
): Step {
  const args = [
    "run",
    "-A",
    "vm/main.ts",
    "e2e",
    "--timeout",
    `${GUEST_LIMIT_MS / 1000}`,
    ...words,
  ];
  if (filter !== undefined) args.push("--filter", filter);
  return {
    name,
    group: "e2e",
    label,
    needsNothing: false,
    run: ({ label, onCpu }) =>
      reported(
        (report) => deno([...args, ...onOne(onCpu), "--json", report], E2E_LIMIT_MS, label),
        parseVmReport,
        E2E_LIMIT_MS,
      ),
  };
}

/** The kernel's own tests of ublk, counted as those inside the VMs. */
function selftestsStep(name: string, filter?: string): Step {
  const args = ["run", "-A", "vm/main.ts", "selftests", "--list", "ci"];
  if (filter !== undefined) args.push("--only", `*${filter}*`);
  return {
    name,
    group: "selftests",
    label: "selftests",
    needsNothing: false,
    run: ({ label, onCpu }) =>
      reported(
        (report) => deno([...args, ...onOne(onCpu), "--json", report], SELFTESTS_LIMIT_MS, label),
        parseVmReport,
        SELFTESTS_LIMIT_MS,
      ),
  };
}

function onOne(cpu?: number): string[] {
  return cpu === undefined ? [] : ["--on-cpu", `${cpu}`];
}

/**
 * Downloads and builds what guests and Ceph need, while other steps run; says what it does. Should it
 * fail, the step that needs it tries once more, and tells.
 */
export async function fetchAhead(groups: ReadonlySet<Group>): Promise<void> {
  try {
    if (groups.has("e2e") || groups.has("selftests")) {
      await deno(["run", "-A", "vm/main.ts", "fetch"], FETCH_LIMIT_MS, "fetch");
    }
    if (groups.has("ceph")) await fetchCeph("fetch");
  } catch (error) {
    console.log(`fetch | ${error}`);
  }
}

/**
 * Runs a program that writes a report, and reads it. A program that fails without naming a failure
 * in its report (it crashed, or its time was up) counts as one failure itself.
 */
async function reported(
  program: (reportPath: string) => Promise<Ran>,
  parse: (report: string) => Outcome,
  limitMs: number,
): Promise<Outcome> {
  const reportPath = await Deno.makeTempFile({ prefix: "ublk-tests-" });
  try {
    const ran = await program(reportPath);
    const report = await Deno.readTextFile(reportPath);
    const outcome = report === ""
      ? { passed: 0, failed: ["it ended without a report"], skipped: [] }
      : parse(report);
    const failure = describeFailure(ran, limitMs);
    if (failure !== undefined && (outcome.failed.length === 0 || ran.timedOut)) {
      outcome.failed.push(failure);
    }
    return outcome;
  } finally {
    await Deno.remove(reportPath);
  }
}

function deno(args: readonly string[], limitMs: number, label?: string): Promise<Ran> {
  // Not "deno": under npx no program of that name need be on the PATH.
  return run(Deno.execPath(), args, limitMs, label);
}

function describeFailure({ code, timedOut }: Ran, limitMs: number): string | undefined {
  if (timedOut) return `not done after ${limitMs / MINUTE_MS} minutes`;
  return code === 0 ? undefined : `exit code ${code}`;
}
