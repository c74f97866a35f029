/**
 * What is checked on any machine, without a kernel of its own: by `deno task ok` while one works,
 * and again by `deno task test`.
 *
 * @module
 */

import { sources } from "./sources.ts";

/** A check that passes or fails as a whole: one run of Deno or several. */
export interface StaticCheck {
  readonly name: string;
  /** The arguments of each run. */
  readonly runs: readonly (readonly string[])[];
}

/** Unit tests that run together. */
export interface TestGroup {
  readonly name: string;
  readonly files: readonly string[];
  /** Several suites at a time, each in a Worker of one process; `DENO_JOBS` says how many. */
  readonly parallel: boolean;
  /**
   * Arguments of the suites themselves, as `tests/seeds.ts` reads them.
   *
   * @default None
   */
  readonly args?: readonly string[];
  /**
   * Whether they can do without any of Debian's packages.
   *
   * @default false
   */
  readonly needsNothing?: boolean;
}

/** The folders of tests that need more than this machine's own kernel, or long. */
const ELSEWHERE = ["tests/ceph/", "tests/e2e/", "tests/integration/", "tests/long/", "tests/numa/"];

/**
 * Suites that want the process to themselves, by a beginning of their paths. Suites that run at a
 * time are threads of one process, and so share all that a process has but once.
 */
export const ALONE: Readonly<Record<string, string>> = {
  "uring/": "descriptors, mappings, signals and threads are the process's",
  "backends/claimed_file_test.ts": "copies descriptors of the process",
  "backends/memory_test.ts": "measures the process's memory, and what is mapped where",
  "backends/volume_seal_test.ts": "keeps the process from writing core files",
  "backends/zip/memory_test.ts": "measures the process's memory",
  "backends/zoned_test.ts": "measures the process's memory",
  "cmd/program/signals_test.ts": "sends signals to the process",
  "ctrl/control_ring_test.ts": "counts descriptors",
  "device/users_test.ts": "changes the environment",
  "device/child_test.ts": "waits for a moment in the ends of children",
  "disk/load_test.ts": "counts descriptors",
  "nbd/hostile_test.ts": "opens hundreds of descriptors",
  "queue/buffers_test.ts": "looks what is mapped where",
  "queue/bytes_handler_test.ts": "looks what is mapped where",
  "queue/metadata_test.ts": "looks what is mapped where",
  "queue/ring_reads_test.ts": "looks what is mapped where",
  "queue/wait_test.ts": "counts descriptors",
  "store/directory_test.ts": "fills a filesystem, and others' children keep what is removed",
  "volume/map/arena_test.ts": "measures the process's memory, and what is mapped where",
  "volume/methods_away_test.ts": "changes the environment",
  "volume/s3_test.ts": "changes the environment",
  "vm/turns_test.ts": "takes locks, which are the process's",
};

/** Suites that prove the house's order. They are unit tests too, and named on a line of their own. */
const ORDER = ["tests/layers_test.ts", "tests/module_graph_test.ts", "tests/one_printer_test.ts"];

/**
 * Suites of several seconds of CPU each. They have a process of their own, which is started first: if
 * one of them came up last among the others, it would run alone on an idle machine.
 */
const LONG = [
  "backends/wrappers/cache_crash_test.ts",
  "backends/wrappers/cow_crash_test.ts",
  "backends/wrappers/stacks_test.ts",
  "backends/zip/contents_test.ts",
  "backends/zip/hostile_test.ts",
  "tests/docs_test.ts",
  "volume/crash_test.ts",
];

/** The checks that run no test. `doors` are the modules that the package exports. */
export function staticChecks(doors: readonly string[]): StaticCheck[] {
  return [
    { name: "format", runs: [["fmt", "--check"]] },
    { name: "lint", runs: [["lint"]] },
    { name: "types", runs: [["check", "--quiet", "."]] },
    // Each by itself: together they make up for the types that one of them leaves out.
    { name: "documentation", runs: doors.map((door) => ["doc", "--lint", door]) },
    { name: "publishing", runs: [["publish", "--dry-run", "--allow-dirty"]] },
    { name: "examples", runs: [["test", "--doc", "-A", ...examples()]] },
  ];
}

/** The unit tests, the longest group first. Types are checked by {@linkcode staticChecks}. */
export function testGroups(): TestGroup[] {
  const files = testFiles("").filter((file) => !ELSEWHERE.some((place) => file.startsWith(place)));
  const others = files.filter((file) => !ORDER.includes(file));
  const short = others.filter((file) => !LONG.includes(file));
  return [
    { name: "unit tests, the long ones", files: LONG, parallel: false },
    {
      name: "unit tests, side by side",
      files: short.filter((file) => !isAlone(file)),
      parallel: true,
    },
    { name: "unit tests, one by one", files: short.filter(isAlone), parallel: false },
    { name: "layers, cycles, doors", files: ORDER, parallel: false, needsNothing: true },
  ];
}

/** Whether a suite has the process to itself. */
export function isAlone(file: string): boolean {
  return Object.keys(ALONE).some((place) => file.startsWith(place));
}

/** The arguments by which Deno runs a group, with more options. */
export function testArgs(
  { files, parallel, args = [] }: TestGroup,
  ...options: string[]
): string[] {
  const together = parallel ? ["--parallel"] : [];
  const own = args.length === 0 ? [] : ["--", ...args];
  return ["test", "-A", "--no-check", ...together, ...options, ...files, ...own];
}

/** The paths of all tests below a folder, which ends in a slash. */
export function testFiles(folder: string): string[] {
  return sources("./", [".ts"], folder).filter((file) => file.endsWith("_test.ts"));
}

/** Whose examples make a disk: `tests/e2e/readme_test.ts` runs them where there is ublk. */
const EXAMPLES_WITH_DISK = ["mod.ts", "device/serve.ts"];

/** The modules with examples that run on any machine. */
function examples(): string[] {
  return sources("./", [".ts"]).filter((file) =>
    !file.endsWith("_test.ts") && !file.startsWith("tests/") &&
    !EXAMPLES_WITH_DISK.includes(file) && Deno.readTextFileSync(file).includes("@example")
  );
}
