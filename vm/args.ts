/**
 * The words after `vm/main.ts`.
 *
 * @module
 */
import { VmError } from "./host.ts";
import { KERNEL_NAMES, type KernelName } from "./kernels.ts";

/** What there is to do. */
export type Subcommand =
  | "e2e"
  | "simple-e2e"
  | "selftests"
  | "run"
  | "shell"
  | "trace"
  | "fetch";

/** The parsed command line. */
export interface CommandLine {
  subcommand: Subcommand;
  kernels: KernelName[];
  /** The words after `--`: a command, or for `e2e` the arguments of the tests. */
  command: string[];
  help: boolean;
  filter?: string;
  files?: string;
  json?: string;
  /** `selftests`: names with `*`, separated by commas. */
  only?: string;
  /** `selftests`: `all` or `ci`. */
  list?: string;
  /** `selftests`: `ours`, `kublk` or `both`. */
  against?: string;
  resultsDir?: string;
  accel?: string;
  /** Emulate on this CPU of the host alone. */
  onCpu?: number;
  cpus?: number;
  nodes?: number;
  memoryMiB?: number;
  timeoutMs: number;
  silenceMs?: number;
  modules: boolean;
  newest: boolean;
  parallel: boolean;
  /** `e2e`: all kernels' guests at the same time. */
  together: boolean;
  /** `e2e`: the names of test files that one kernel is enough for, and that kernel. */
  once: ReadonlyMap<string, KernelName>;
  verbose: boolean;
}

/** The help text. */
export const USAGE: string = `usage: vm/main.ts SUBCOMMAND [OPTION…] [-- COMMAND…]

  e2e          run tests/e2e in a guest of each kernel; words after -- are the tests' own, as
               --seeds N
  simple-e2e   run only tests/e2e/simple_test.ts
  selftests    run the kernel's ublk selftests against this project and against kublk
  run          run one command in a guest, and exit with its status
  shell        a shell in a guest, on this terminal
  trace        run tests (or a command) while the kernel traces ublk; print the trace
  fetch        only download what the others need

  --kernel K     6.12 or 7.2 (e2e, fetch: default both; the others: 7.2)
  --filter F     only the tests whose name has F (or matches /F/)
  --files G      the test files: a file, folder or glob (default tests/e2e/)
  --json FILE    write the totals there (e2e, selftests)
  --only G       selftests: only the scripts of these names, such as generic_*,null_01
  --list L       selftests: all, or ci: a short list, with kublk only where ours does not pass
  --against A    selftests: ours, kublk or both (default both); ours is the command after --,
                 if there is one
  --results DIR  keep junit.xml, console.log and what the guest leaves in /results
  --timeout S    seconds for the command (default 3600), for each script (selftests, default 600)
  --silence S    seconds without output (e2e: default 300)
  --cpus N       virtual CPUs (default 4, selftests 2)
  --nodes N      NUMA nodes among which both are shared out (default 1)
  --memory MIB   (default 4096)
  --accel A      kvm or tcg (default: KVM where it works)
  --on-cpu N     emulate on this CPU of the host alone, for guests side by side (default: on all)
  --no-modules   do not load ublk_drv
  --newest       look for a newer kernel (fetch)
  --parallel     do not wait for another guest to end
  --together     e2e: run all kernels at the same time
  --once A@K,B@K e2e: test files that run on that kernel only
  --verbose      show the console too`;

const SUBCOMMANDS: readonly string[] = [
  "e2e",
  "simple-e2e",
  "selftests",
  "run",
  "shell",
  "trace",
  "fetch",
];
const FLAGS = ["help", "no-modules", "newest", "parallel", "together", "verbose"];
const VALUES = [
  "once",
  "kernel",
  "filter",
  "files",
  "json",
  "only",
  "list",
  "against",
  "results",
  "timeout",
  "silence",
  "cpus",
  "nodes",
  "memory",
  "accel",
  "on-cpu",
];

function kernelName(value: string): KernelName {
  const name = KERNEL_NAMES.find((known) => known === value);
  if (name === undefined) throw new VmError(`no kernel "${value}": ${KERNEL_NAMES.join(" or ")}`);
  return name;
}

function positive(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!(number > 0)) throw new VmError(`--${option} wants a number above 0, not "${value}"`);
  return number;
}

function cpuNumber(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,5}$/.test(value)) return Number(value);
  throw new VmError(`--on-cpu wants the number of a CPU, not "${value}"`);
}

function fileOnKernel(word: string): [file: string, kernel: KernelName] {
  const [file, kernel = ""] = word.split("@");
  return [file, kernelName(kernel)];
}

/** Parses the command line; throws {@link VmError} naming the word that is wrong. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const values = new Map<string, string>();
  const flags = new Set<string>();
  const words: string[] = [];
  const separator = args.indexOf("--");
  const command = separator < 0 ? [] : args.slice(separator + 1);
  const own = separator < 0 ? [...args] : args.slice(0, separator);
  while (own.length > 0) {
    const word = own.shift()!;
    const [, name, inline] = word.match(/^--([\w-]+)(?:=(.*))?$/s) ?? [];
    if (name === undefined) words.push(word);
    else if (FLAGS.includes(name)) flags.add(name);
    else if (!VALUES.includes(name)) throw new VmError(`unknown option ${word}: see --help`);
    else {
      const value = inline ?? own.shift();
      if (value === undefined) throw new VmError(`--${name} wants a value`);
      values.set(name, value);
    }
  }
  const help = flags.has("help") || args.length === 0;
  const subcommand = words.shift() ?? (help ? "run" : "");
  if (!SUBCOMMANDS.includes(subcommand)) {
    throw new VmError(`no subcommand "${subcommand}": one of ${SUBCOMMANDS.join(", ")}`);
  }
  if (words.length > 0) throw new VmError(`unexpected "${words[0]}": commands go behind "--"`);
  if (!help && subcommand === "run" && command.length === 0) {
    throw new VmError("run what? usage: run [--kernel K] -- COMMAND…");
  }
  const kernel = values.get("kernel");
  const many = ["e2e", "simple-e2e", "fetch"].includes(subcommand);
  const milliseconds = (name: string) => {
    const seconds = positive(name, values.get(name));
    return seconds === undefined ? undefined : seconds * 1000;
  };
  return {
    subcommand: subcommand as Subcommand,
    kernels: kernel ? [kernelName(kernel)] : many ? [...KERNEL_NAMES] : [KERNEL_NAMES.at(-1)!],
    command,
    help,
    filter: values.get("filter"),
    files: values.get("files"),
    json: values.get("json"),
    only: values.get("only"),
    list: values.get("list"),
    against: values.get("against"),
    resultsDir: values.get("results"),
    accel: values.get("accel"),
    onCpu: cpuNumber(values.get("on-cpu")),
    cpus: positive("cpus", values.get("cpus")),
    nodes: positive("nodes", values.get("nodes")),
    memoryMiB: positive("memory", values.get("memory")),
    timeoutMs: milliseconds("timeout") ?? (subcommand === "selftests" ? 600_000 : 3_600_000),
    silenceMs: milliseconds("silence"),
    modules: !flags.has("no-modules"),
    newest: flags.has("newest"),
    parallel: flags.has("parallel"),
    together: flags.has("together"),
    once: new Map(values.get("once")?.split(",").map(fileOnKernel)),
    verbose: flags.has("verbose"),
  };
}
