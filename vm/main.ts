/**
 * The VM's command line: runs the end-to-end tests, the kernel's selftests, or anything else, on the
 * kernels the project supports, inside guests that see this machine's own files.
 *
 * ```text
 * deno run -A vm/main.ts e2e [--kernel K] [--filter F] [--files GLOB] [--json FILE]
 * deno run -A vm/main.ts simple-e2e [the same]
 * deno run -A vm/main.ts selftests [--only GLOB] [--list ci] [--against ours|kublk|both]
 * deno run -A vm/main.ts run [--kernel K] -- COMMAND…
 * deno run -A vm/main.ts shell [--kernel K]
 * deno run -A vm/main.ts trace [--kernel K] [--filter F | -- COMMAND…]
 * deno run -A vm/main.ts fetch [--newest]
 * ```
 *
 * @module
 */
import { type CommandLine, parseCommandLine, USAGE } from "./args.ts";
import { ensureBpftrace } from "./bpftrace.ts";
import { ensureBundles } from "./bundles.ts";
import { runE2e } from "./e2e.ts";
import { passOn, say, VmError } from "./host.ts";
import { ensureKernel, KERNEL_NAMES, uapiHeadersDir } from "./kernels.ts";
import { ensureKublk } from "./kublk.ts";
import { ensureLibnbd } from "./libnbd.ts";
import { ensureHostPackages, SELFTEST_PACKAGE_NAMES } from "./packages.ts";
import { runProgram } from "./program.ts";
import { bootGuest, type GuestOptions, type GuestResult } from "./qemu.ts";
import { runSelftests } from "./selftests.ts";
import { runTrace } from "./trace.ts";

/** Exit statuses of `run` when the command had none, as timeout(1) and shells have them. */
const EXIT_TIMEOUT = 124;
const EXIT_CRASH = 125;

/** What every subcommand passes on to a guest. */
function guestOptions(line: CommandLine, signal: AbortSignal) {
  return {
    cpus: line.cpus,
    nodes: line.nodes,
    memoryMiB: line.memoryMiB,
    accel: line.accel,
    onCpu: line.onCpu,
    modules: line.modules,
    parallel: line.parallel,
    timeoutMs: line.timeoutMs,
    silenceMs: line.silenceMs,
    signal,
  } satisfies Partial<GuestOptions>;
}

function exitStatus(result: GuestResult): number {
  if (typeof result.status === "number") return result.status;
  console.error(result.consoleTail.replaceAll(/^/gm, "| "));
  say(`${result.reason}; above are the last lines of its console`);
  return result.status === "timeout" ? EXIT_TIMEOUT : EXIT_CRASH;
}

async function runCommand(line: CommandLine, signal: AbortSignal): Promise<number> {
  const interactive = line.subcommand === "shell";
  if (interactive && !Deno.stdin.isTerminal()) {
    throw new VmError("the shell needs a terminal: use `run -- COMMAND` instead");
  }
  const shell = ["bash", "-l"];
  const temporary = line.resultsDir ?? await Deno.makeTempDir({ prefix: "ublk-vm-results-" });
  await Deno.mkdir(temporary, { recursive: true });
  try {
    const result = await bootGuest({
      ...guestOptions(line, signal),
      kernel: line.kernels[0],
      command: interactive && line.command.length === 0 ? shell : line.command,
      interactive,
      resultsDir: temporary,
      onOutput: passOn,
      onConsoleLine: line.verbose ? (text) => console.error(`| ${text}`) : undefined,
    });
    if (line.verbose) {
      const { name, whyNotKvm } = result.accelerator;
      const why = whyNotKvm ? ` (${whyNotKvm})` : "";
      const times = `booted in ${Math.round(result.bootMs)} ms, ran ${
        Math.round(result.totalMs - result.bootMs)
      } ms`;
      say(`${name}${why}: ${times}`);
    }
    return exitStatus(result);
  } finally {
    if (line.resultsDir === undefined) await Deno.remove(temporary, { recursive: true });
  }
}

async function fetchAll(line: CommandLine, signal: AbortSignal): Promise<number> {
  await ensureHostPackages();
  for (const name of line.kernels) {
    const kernel = await ensureKernel(name, { newest: line.newest, signal });
    console.log(`${name}: ${kernel.release} in ${kernel.dir}`);
  }
  console.log(`bundles: ${await ensureBundles(signal) ?? "none"}`);
  if (line.kernels.includes(KERNEL_NAMES.at(-1)!)) {
    console.log(`headers: ${await uapiHeadersDir(signal)}`);
    await ensureHostPackages(SELFTEST_PACKAGE_NAMES);
    console.log(`selftests: ${(await ensureKublk(signal)).version}`);
    console.log(`bpftrace: ${(await ensureBpftrace(signal)).at(-1)}`);
    console.log(`libnbd: ${await ensureLibnbd(signal)}`);
  }
  return 0;
}

async function main(args: string[], signal: AbortSignal): Promise<number> {
  const line = parseCommandLine(args);
  if (line.help) {
    console.log(USAGE);
    return 0;
  }
  const guest = guestOptions(line, signal);
  switch (line.subcommand) {
    case "e2e":
    case "simple-e2e":
      return await runE2e(line, guest);
    case "selftests":
      return await runSelftests(line, guest);
    case "run":
    case "shell":
      return await runCommand(line, signal);
    case "trace":
      return await runTrace(line, guest);
    case "fetch":
      return await fetchAll(line, signal);
  }
}

if (import.meta.main) await runProgram("vm", (signal) => main(Deno.args, signal));
