/**
 * Which of the kernel's ublk selftests to run, and what each one asks for before it runs.
 *
 * @module
 */
import { VmError } from "./host.ts";

/** Whose results stand in a column: the kernel's own server, or this project's. */
export type Column = "kublk" | "ours";

/** One script in one column. */
export interface Job {
  readonly column: Column;
  /** Its name between `test_` and `.sh`: `generic_03`. */
  readonly script: string;
}

/** What a script skips for when it does not find it. */
export interface Needs {
  /** Programs that it looks for. */
  readonly programs: readonly string[];
  /** What it looks for in what `kublk features` prints. */
  readonly features: readonly string[];
}

/**
 * At least one script of each group, the quick ones. Without `generic_07` and `loop_01`, each of which
 * has fio verify 256 MiB: that took a fifth of the list's time, and `tests/e2e/paths_fio_test.ts` has
 * fio verify the same paths of the same target, with more sizes of requests and more queues.
 */
export const CI_LIST: readonly string[] = [
  "generic_03",
  "generic_08",
  "generic_10",
  "generic_13",
  "generic_16",
  "generic_17",
  "null_01",
  "null_03",
  "loop_04",
  "stripe_02",
  "batch_01",
  "batch_02",
  "integrity_01",
  "part_02",
  "recover_03",
  "shmemzc_01",
  "shmemzc_04",
  "stress_01",
];

/**
 * The names of the scripts in a folder's listing, sorted, but stress tests last, as in the kernel's
 * Makefile: in a guest where they have killed servers, `stripe_01` fails with ENOSPC even for
 * `kublk`.
 */
export function scriptNames(files: Iterable<string>): string[] {
  return [...files]
    .map((file) => file.match(/^test_(\w+_\d+)\.sh$/)?.[1])
    .filter((name) => name !== undefined)
    .sort((a, b) => {
      const stress = Number(a.startsWith("stress_")) - Number(b.startsWith("stress_"));
      return stress || (a < b ? -1 : 1);
    });
}

/** Picks from all scripts by `--list` and `--only`. */
export function selectScripts(
  all: readonly string[],
  options: { list?: string; only?: string },
): string[] {
  const { list = "all", only = "*" } = options;
  if (list !== "all" && list !== "ci") throw new VmError(`no list "${list}": all or ci`);
  const unknown = CI_LIST.filter((name) => !all.includes(name));
  if (unknown.length > 0) {
    throw new VmError(
      `this kernel's selftests have no ${unknown.join(", ")}: put others on CI_LIST`,
    );
  }
  const globs = only.split(",").map(globToRegExp);
  const scripts = all.filter((name) =>
    (list === "all" || CI_LIST.includes(name)) && globs.some((glob) => glob.test(name))
  );
  if (scripts.length === 0) throw new VmError(`no script matches "${only}", such as generic_*`);
  return scripts;
}

/** Names are given as `generic_03`, and as the file is called too. */
function globToRegExp(glob: string): RegExp {
  const name = glob.replace(/^test_/, "").replace(/\.sh$/, "");
  return new RegExp(`^${RegExp.escape(name).replaceAll("\\*", ".*").replaceAll("\\?", ".")}$`);
}

/** Reads from a script's source what it asks for. */
export function needsOf(source: string): Needs {
  const all = (pattern: RegExp) => [...new Set([...source.matchAll(pattern)].map(([, x]) => x))];
  const features = all(/_have_feature "(\w+)"/g);
  // `_create_ublk_dev` looks for it whenever there is a "-z" among the arguments.
  if (/ -z\b/.test(source) && !features.includes("ZERO_COPY")) features.push("ZERO_COPY");
  return { programs: all(/_have_program ([\w.]+)/g), features };
}
