/**
 * `deno task demo`: the life of a RAM disk in TypeScript, on this machine's kernel if it has ublk, or
 * else in a virtual machine.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { VmError } from "../vm/host.ts";
import { KERNEL_NAMES, type KernelName } from "../vm/kernels.ts";
import { ensureHostPackages } from "../vm/packages.ts";
import { ReportedError, runInGuest } from "./guest.ts";
import { DemoError, run } from "./program.ts";
import { ublk } from "./server.ts";
import { runSteps } from "./steps.ts";
import { Story } from "./story.ts";

const USAGE = `Usage: deno task demo [OPTION]…

  --here           on this machine's own kernel only
  --vm             in a virtual machine, even if this machine's kernel has ublk
  --kernel K       the virtual machine's kernel: ${KERNEL_NAMES.join(" or ")} (the default)
  --size SIZE      the disk (default 256M)
  --fio-seconds N  for each of fio's two runs (default 3)`;

/** Packages that the steps need, without the virtual machine. */
const STEP_PACKAGES = ["kmod", "fio", "e2fsprogs", "mount", "util-linux"];

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

/** The parsed command line. */
interface CommandLine {
  where?: "here" | "vm";
  kernel: KernelName;
  size: string;
  fioSeconds: number;
  color: boolean;
}

class UsageError extends DemoError {}

function parseCommandLine(args: readonly string[]): CommandLine | undefined {
  const found = parseArgs([...args], {
    boolean: ["help", "here", "vm", "color"],
    string: ["kernel", "size", "fio-seconds"],
    default: { color: Deno.stdout.isTerminal() && !Deno.noColor },
    unknown: (arg) => {
      throw new UsageError(`unexpected ${arg}; see \`deno task demo --help\``);
    },
  });
  if (found.help) return undefined;
  if (found.here && found.vm) throw new UsageError("--here or --vm, not both");
  const newest = KERNEL_NAMES.at(-1)!;
  const kernel = KERNEL_NAMES.find((name) => name === (found.kernel ?? newest));
  if (kernel === undefined) throw new UsageError(`--kernel wants ${KERNEL_NAMES.join(" or ")}`);
  const fioSeconds = Number(found["fio-seconds"] ?? 3);
  if (!Number.isInteger(fioSeconds) || fioSeconds < 1) {
    throw new UsageError("--fio-seconds wants a whole number, 1 or more");
  }
  const where = found.here ? "here" : found.vm ? "vm" : undefined;
  return { where, kernel, fioSeconds, size: found.size ?? "256M", color: found.color };
}

/**
 * The reason why the steps cannot run on this machine's kernel; undefined if they can. `thoroughly`
 * runs `ublk features`, which takes a second: it checks the kernel's version, io_uring, permissions.
 */
async function whyNotHere(thoroughly: boolean, signal: AbortSignal): Promise<string | undefined> {
  if (Deno.uid() !== 0) return "a disk on this machine needs root";
  const kernel = `this machine's Linux ${Deno.osRelease()}`;
  if (!hasControl()) {
    if (!isFolder(`/lib/modules/${Deno.osRelease()}`)) {
      return `${kernel} has no modules, so no ublk`;
    }
    await ensureHostPackages(["kmod"]);
    const failure = await reasonOf(run("modprobe", ["ublk_drv"], { signal }));
    if (!hasControl()) return `${kernel} has no ublk (${failure ?? "no /dev/ublk-control"})`;
  }
  if (!thoroughly) return undefined;
  const failure = await reasonOf(ublk(["features"], signal));
  return failure === undefined ? undefined : `${kernel} is not suitable (${failure})`;
}

function hasControl(): boolean {
  try {
    return Deno.statSync("/dev/ublk-control").isCharDevice === true;
  } catch {
    return false;
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

async function reasonOf(attempt: Promise<unknown>): Promise<string | undefined> {
  try {
    await attempt;
    return undefined;
  } catch (error) {
    if (error instanceof DemoError) return error.message;
    throw error;
  }
}

async function main(args: readonly string[], signal: AbortSignal): Promise<void> {
  const line = parseCommandLine(args);
  if (line === undefined) return console.log(USAGE);
  const { kernel, size, fioSeconds, color } = line;
  const story = new Story(color);
  const whyNot = line.where === "vm"
    ? "--vm asks for it"
    // With --here a failure to serve reports itself; only the automatic choice must check first.
    : await whyNotHere(line.where === undefined, signal);
  if (whyNot === undefined) {
    // In a guest the host has already printed this.
    if (line.where !== "here") {
      story.say(`On this machine's own kernel, Linux ${Deno.osRelease()}.`);
    }
    await ensureHostPackages(STEP_PACKAGES);
    return await runSteps(story, { size, fioSeconds, signal });
  }
  if (line.where === "here") throw new DemoError(whyNot);
  story.say(`In a virtual machine: ${whyNot}.`);
  const inside = ["--here", "--size", size, "--fio-seconds", `${fioSeconds}`];
  await runInGuest(story, kernel, [...inside, ...(color ? ["--color"] : [])], signal);
}

function statusOf(error: unknown): number {
  if (error instanceof ReportedError) return EXIT_FAILURE;
  const isOperating = error instanceof DemoError || error instanceof VmError ||
    (error instanceof Error && error.message.includes("(os error "));
  // Anything else is a bug in this program, so print its stack.
  console.error(isOperating ? `demo: ${error.message}` : error);
  return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE;
}

if (import.meta.main) {
  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, () => abort.abort(new DemoError(`ended by ${name}`)));
  }
  let status = 0;
  try {
    await main(Deno.args, abort.signal);
  } catch (error) {
    status = statusOf(error);
  }
  // Signal listeners would keep the process alive.
  Deno.exit(abort.signal.aborted ? EXIT_INTERRUPTED : status);
}
