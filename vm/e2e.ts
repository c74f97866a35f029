/**
 * The end-to-end suites: `deno test` in one guest after the other, and the totals of all.
 *
 * @module
 */
import { glob } from "node:fs/promises";
import type { CommandLine } from "./args.ts";
import { exists, passOn, say, VmError } from "./host.ts";
import {
  OutputWatcher,
  type TestTime,
  timesFromJunit,
  type Totals,
  totalsFromJunit,
} from "./junit.ts";
import { ensureKernel, type KernelName } from "./kernels.ts";
import { chooseAccelerator } from "./kvm.ts";
import { ensureHostPackages } from "./packages.ts";
import { bootGuest, type GuestOptions, type GuestResult } from "./qemu.ts";

/** One kernel's run. */
export interface Suite extends Totals {
  /** The kernel. */
  kernel: KernelName;
  /** What `uname -r` says there. */
  release: string;
  /** `kvm` or `tcg`. */
  accelerator: string;
  /** `deno test`'s exit status, "timeout" or "crash". */
  status: GuestResult["status"];
  /** From QEMU's start to its end. */
  seconds: number;
  /** What the kernel complained about meanwhile. */
  kernelComplaints: string[];
  /** What each test took. */
  times: TestTime[];
}

/** What `--json` writes. */
export interface E2eReport {
  /** Sums over all suites. */
  passed: number;
  failed: number;
  skipped: number;
  /** Each kernel's run. */
  suites: Suite[];
}

type GuestDefaults = Partial<GuestOptions> & Pick<GuestOptions, "timeoutMs">;

const TEST_FILE = /(^|\/)([^/]*[._])?test\.(ts|tsx|mts|js|mjs|jsx)$/;
const SILENCE_MS = 300_000;

async function isDirectory(path: string): Promise<boolean> {
  return await exists(path) && (await Deno.stat(path)).isDirectory;
}

/** The test files that a file, folder or glob means, relative to the current folder. */
export async function testFiles(pattern: string): Promise<string[]> {
  const clean = pattern.replace(/^\.\//, "").replace(/\/+$/, "");
  const found: string[] = [];
  const all = await isDirectory(clean) ? `${clean}/**/*` : clean;
  for await (const path of glob(all)) {
    if (all === clean || TEST_FILE.test(path)) found.push(path);
  }
  return found.sort();
}

/** The command for a guest, which has no network. `args` are the tests' own. */
function denoTest(files: readonly string[], filter?: string, args: readonly string[] = []) {
  return [
    ...["deno", "test", "-A", "--no-check"],
    ...(filter === undefined ? [] : [`--filter=${filter}`]),
    "--junit-path=/results/junit.xml",
    ...files,
    ...(args.length === 0 ? [] : ["--", ...args]),
  ];
}

/**
 * Whatever the tests import is downloaded here, since a guest cannot. Deno asks for a package's
 * metadata again, and says "Download", until a program has lived long enough to store the answer.
 * Commands end sooner, and in a guest that word fails the tests of what they print. So one lives for
 * longer here if need be.
 */
async function warmDenoCache(files: readonly string[]): Promise<void> {
  const { success } = await deno(["cache", "--quiet", ...files], "inherit");
  if (!success) throw new VmError("the tests do not load (see above), so no guest was started");
  for (const lingerMs of LINGER_MS) {
    const program = `import "./cmd/ublk.ts"; setTimeout(() => {}, ${lingerMs});`;
    const { success, stderr } = await deno(["eval", program], "piped");
    const said = new TextDecoder().decode(stderr);
    if (!success) throw new VmError(`the commands do not load, so no guest was started: ${said}`);
    if (!said.includes("Download")) return;
  }
}

/** For how long a program lives so that Deno stores what it downloaded, attempt by attempt. */
const LINGER_MS = [0, 2_000, 5_000, 15_000];

function deno(args: string[], stderr: "inherit" | "piped"): Promise<Deno.CommandOutput> {
  const env = { NO_COLOR: "1" };
  return new Deno.Command(Deno.execPath(), { args, env, stdin: "null", stdout: "inherit", stderr })
    .output();
}

/** Variables of this project that tests may look at. */
function projectVariables(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(Deno.env.toObject())
      .filter(([name]) => name.startsWith("UBLK_") && !name.startsWith("UBLK_VM_")),
  );
}

/** The test command that `trace` shares with `e2e`. */
export async function prepareTests(line: CommandLine): Promise<{
  files: string[];
  filter?: string;
  args: string[];
  command: string[];
  env: Record<string, string>;
}> {
  const pattern = line.files ??
    (line.subcommand === "simple-e2e" ? "tests/e2e/simple_test.ts" : "tests/e2e/");
  const files = await testFiles(pattern);
  if (files.length === 0) {
    throw new VmError(`no test files at "${pattern}" in ${Deno.cwd()}: name some with --files`);
  }
  await warmDenoCache(files);
  const env = projectVariables();
  if (Deno.stdout.isTerminal() && !Deno.env.has("NO_COLOR")) env.FORCE_COLOR = "1";
  else env.NO_COLOR = "1";
  const { filter } = line;
  const args = line.command;
  return { files, filter, args, command: denoTest(files, filter, args), env };
}

/** The tests without those that another kernel is enough for. */
function testsOf(
  kernel: KernelName,
  tests: Awaited<ReturnType<typeof prepareTests>>,
  once: CommandLine["once"],
): Awaited<ReturnType<typeof prepareTests>> {
  const files = tests.files.filter((file) =>
    (once.get(file.split("/").at(-1)!) ?? kernel) === kernel
  );
  if (files.length === 0) throw new VmError(`--once leaves nothing for ${kernel}`);
  return { ...tests, files, command: denoTest(files, tests.filter, tests.args) };
}

async function runSuite(
  kernelName: KernelName,
  tests: Awaited<ReturnType<typeof prepareTests>>,
  guest: GuestDefaults,
  resultsDir: string,
  prefix: string,
): Promise<Suite> {
  const kernel = await ensureKernel(kernelName, { signal: guest.signal });
  const { name, whyNotKvm } = await chooseAccelerator(kernel, guest, guest.signal);
  const how = whyNotKvm ? `emulated, no KVM: ${whyNotKvm}` : "KVM";
  console.log(`\n== Linux ${kernel.release} (${name}; ${how}; ${guest.cpus ?? 4} CPUs)\n`);
  await Deno.mkdir(resultsDir, { recursive: true });
  const junit = `${resultsDir}/junit.xml`;
  await Deno.remove(junit).catch(() => {}); // Never count an earlier run's.
  const watcher = new OutputWatcher();
  const result = await bootGuest({
    silenceMs: SILENCE_MS,
    ...Object.fromEntries(Object.entries(guest).filter(([, value]) => value !== undefined)),
    timeoutMs: guest.timeoutMs,
    kernel: kernelName,
    command: tests.command,
    env: tests.env,
    bundles: true,
    resultsDir,
    // Two guests at once would tear each other's lines apart.
    onOutput: prefix === "" ? passOn : undefined,
    onLine: (text) => {
      watcher.take(text);
      if (prefix !== "") console.log(prefix + text);
    },
  });
  let totals: Totals;
  let times: TestTime[] = [];
  if (await exists(junit)) {
    const xml = await Deno.readTextFile(junit);
    totals = watcher.complete(totalsFromJunit(xml, tests.files));
    times = timesFromJunit(xml);
  } else {
    totals = watcher.withoutJunit(`the suite on ${kernelName} left no results: ${why(result)}`);
  }
  const died = typeof result.status !== "number" && await exists(junit);
  if (died || (result.status !== 0 && totals.failed === 0)) {
    totals.failed++;
    totals.failures.push(`the suite on ${kernelName}: ${why(result)}`);
  }
  if (totals.passed + totals.failed === 0) {
    totals.failed++;
    totals.failures.push(`the suite on ${kernelName} executed no test`);
  }
  if (typeof result.status !== "number") showConsole(result);
  return {
    kernel: kernelName,
    release: kernel.release,
    accelerator: name,
    status: result.status,
    seconds: Math.round(result.totalMs / 100) / 10,
    kernelComplaints: result.kernelComplaints,
    times,
    ...totals,
  };
}

/**
 * Runs the suite on each kernel: one after the other, or all together, which takes less time
 * because tests also wait, and tells less about time because they share the CPUs.
 */
async function* runSuites(
  line: CommandLine,
  tests: Awaited<ReturnType<typeof prepareTests>>,
  guest: GuestDefaults,
  base: string,
): AsyncGenerator<Suite> {
  const run = (kernel: KernelName, prefix: string) =>
    runSuite(
      kernel,
      testsOf(kernel, tests, line.once),
      guest,
      `${base}/${kernel}`,
      prefix,
    );
  if (!line.together) {
    for (const kernel of line.kernels) yield await run(kernel, "");
    return;
  }
  // What is downloaded and probed is so once, and not by two at the same time.
  for (const name of line.kernels) {
    const kernel = await ensureKernel(name, { signal: guest.signal });
    await chooseAccelerator(kernel, guest, guest.signal);
  }
  yield* await Promise.all(line.kernels.map((kernel) => run(kernel, `${kernel} | `)));
}

/** Says in words how a guest ended. */
function why(result: GuestResult): string {
  if (result.status === "timeout") return `hung, the guest ${result.reason}`;
  if (result.status === "crash") return `crashed, ${result.reason}`;
  return `deno test exited with ${result.status}`;
}

function showConsole(result: GuestResult): void {
  console.error(`\nThe last lines of the guest's console:\n`);
  console.error(result.consoleTail.replaceAll(/^(?=.)/gm, "| "));
}

function printSuite(suite: Suite, resultsDir: string): void {
  const { passed, failed, skipped } = suite;
  console.log(
    `Linux ${suite.release}: ${passed} passed, ${failed} failed, ${skipped} skipped ` +
      `(${suite.seconds} s)`,
  );
  for (const name of suite.failures) console.log(`  failed: ${name}`);
  for (const name of suite.skips) console.log(`  skipped: ${name}`);
  for (const line of suite.kernelComplaints) console.log(`  kernel: ${line}`);
  if (failed > 0) console.log(`  see ${resultsDir}/console.log and junit.xml beside it`);
}

/** Runs the suites; returns the exit status. */
export async function runE2e(line: CommandLine, guest: GuestDefaults): Promise<number> {
  // A run that fails early must not leave an earlier run's totals.
  if (line.json !== undefined) await Deno.writeTextFile(line.json, "");
  const tests = await prepareTests(line);
  await ensureHostPackages();
  const base = line.resultsDir ?? await Deno.makeTempDir({ prefix: "ublk-vm-results-" });
  const report: E2eReport = { passed: 0, failed: 0, skipped: 0, suites: [] };
  try {
    for await (const suite of runSuites(line, tests, guest, base)) {
      report.suites.push(suite);
      for (const key of ["passed", "failed", "skipped"] as const) report[key] += suite[key];
    }
  } finally {
    // A failure's traces stay; so does whatever the caller asked for.
    if (line.resultsDir === undefined && report.failed === 0) {
      await Deno.remove(base, { recursive: true });
    }
  }
  console.log();
  for (const suite of report.suites) printSuite(suite, `${base}/${suite.kernel}`);
  const { passed, failed, skipped } = report;
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  if (line.json !== undefined) {
    await Deno.writeTextFile(line.json, JSON.stringify(report, null, 2) + "\n");
    say(`totals in ${line.json}`);
  }
  return failed > 0 ? 1 : 0;
}
