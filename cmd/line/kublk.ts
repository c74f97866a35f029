/**
 * The spelling of `kublk`, the C server of the kernel's selftests: each flag that has another name
 * here, and its meaning. Aliases, additional flags, their help and the list in `docs/ublk.md` are
 * derived from this table. (`_` and `-` are equivalent in all names.)
 *
 * @module
 */

import { type Flag, usageError } from "./flags.ts";

/** One of kublk's flags. */
export interface Rewrite {
  /** kublk's name, without dashes. */
  readonly kublk: string;
  /** The name of our flag. */
  readonly ours: string;
  /** Makes it a separate flag; if undefined, it is an alias of ours. */
  readonly flag?: Omit<Flag, "help"> & { readonly help?: string };
  /** The value that our flag gets; {@linkcode SAME} for the value given to this flag. */
  readonly value?: string;
  /** Flags that it requires, which then have no meaning of their own. */
  readonly beside?: readonly string[];
  /** Cause and remedy of the error if those are missing. */
  readonly alone?: readonly [cause: string, remedy: string];
}

/** Placeholder for the value given to the flag itself. */
const SAME = "…";

const BIT = { kind: "integer", placeholder: "0|1", choices: [0, 1] } as const;

/** All of kublk's flags that differ from ours. */
export const REWRITES: readonly Rewrite[] = [
  { kublk: "number", ours: "id" },
  { kublk: "nthreads", ours: "threads" },
  { kublk: "per_io_tasks", ours: "per-io-daemons" },
  {
    kublk: "get_data",
    ours: "data-path",
    value: "get-data",
    flag: { name: "get-data", short: "g", kind: "switch", takesBit: true },
  },
  {
    kublk: "user_copy",
    ours: "data-path",
    value: "user-copy",
    flag: { name: "user-copy", short: "u", kind: "switch" },
  },
  {
    kublk: "zero_copy",
    ours: "data-path",
    value: "zero-copy",
    flag: { name: "zero-copy", short: "z", kind: "switch" },
  },
  {
    kublk: "auto_zc",
    ours: "data-path",
    value: "auto-zero-copy",
    flag: { name: "auto-zero-copy", kind: "switch" },
  },
  {
    kublk: "auto_zc_fallback",
    ours: "data-path",
    value: "auto-zero-copy-fallback",
    flag: { name: "auto-zero-copy-fallback", kind: "switch" },
    beside: ["zero-copy", "auto-zero-copy"],
    alone: ["it is of no use by itself", "give --zero-copy and --auto-zero-copy too"],
  },
  { kublk: "no_ublk_fixed_fd", ours: "no-fixed-file" },
  {
    kublk: "recovery_reissue",
    ours: "recovery",
    value: "reissue",
    flag: { name: "recovery-reissue", short: "i", ...BIT },
  },
  {
    kublk: "recovery_fail_io",
    ours: "recovery",
    value: "fail",
    flag: { name: "recovery-fail-io", short: "e", ...BIT },
  },
  { kublk: "no_auto_part_scan", ours: "no-partition-scan" },
  { kublk: "csum_type", ours: "checksum" },
  { kublk: "integrity_reftag", ours: "reference-tag" },
  {
    kublk: "shmem_zc",
    ours: "shared-memory",
    flag: { name: "shmem-zc", kind: "switch" },
    beside: ["htlb"],
    alone: ["there is no memory to share", "give --htlb PATH too"],
  },
  {
    kublk: "htlb",
    ours: "shared-memory",
    value: SAME,
    flag: { name: "htlb", kind: "path" },
    beside: ["shmem-zc"],
    alone: ["nothing uses the memory", "add --shmem-zc"],
  },
  { kublk: "rdonly_shmem_buf", ours: "shared-memory-read-only" },
  {
    kublk: "debug_mask",
    ours: "verbose",
    flag: {
      name: "debug-mask",
      kind: "text",
      placeholder: "HEX",
      help: "Log more, by kublk's bits: 1, 2 and 10 as -v, 4 and 8 as -vv.",
    },
  },
];

/** kublk's spellings of our values; undefined means that the flag is not given. */
export const VALUES: Readonly<Record<string, Readonly<Record<string, string | undefined>>>> = {
  recovery: { "0": undefined, "1": "queue" },
};

/** Values that another kublk flag may refine: `-r 1 -i 1` is one request. */
const VAGUE: Readonly<Record<string, readonly string[]>> = { recovery: ["queue"] };

/** Causes of the error if two flags stand for different values of one flag. */
const CONTRADICTIONS: Readonly<Record<string, string>> = {
  "data-path": "data travels one way only",
  "recovery": "requests cannot both fail and wait to be sent again",
  "shared-memory": "the memory is one file",
};

/** One of our flags with kublk's names and values, and the flags that stand for it. */
export function withRewrites(flag: Flag): Flag[] {
  const rewrites = REWRITES.filter(({ ours }) => ours === flag.name);
  const names = rewrites.filter((one) => one.flag === undefined).map(({ kublk }) => dashed(kublk));
  const values = Object.keys(VALUES[flag.name] ?? {});
  return [
    {
      ...flag,
      ...(names.length === 0 ? {} : { aliases: names }),
      ...(values.length === 0 ? {} : { choices: [...values, ...flag.choices ?? []] }),
    },
    ...rewrites.filter((one) => one.flag !== undefined).map(flagOf),
  ];
}

function flagOf({ kublk, ours, flag, value, beside = [] }: Rewrite): Flag {
  const others = beside.map((one) => `--${one}`).join(" and ");
  const when = flag!.kind === "integer" ? "1: " : others === "" ? "" : `With ${others}: `;
  const meaning = value === undefined || value === SAME ? "PATH" : value;
  return {
    ...flag!,
    ...(dashed(kublk) === flag!.name ? {} : { aliases: [dashed(kublk)] }),
    help: flag!.help ?? `${when}--${ours} ${meaning}.`,
  };
}

const dashed = (name: string) => name.replaceAll("_", "-");

/**
 * Converts the values of flags to our spelling.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if two flags stand for different values of one.
 */
export function inOurSpelling(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...values };
  for (const [name, others] of Object.entries(VALUES)) {
    const value = String(result[name]);
    if (Object.hasOwn(others, value)) result[name] = others[value];
  }
  const given = REWRITES.filter(({ flag }) => flag !== undefined && isGiven(values[flag.name]));
  for (const { flag, beside = [], alone } of given) {
    if (beside.every((name) => isGiven(values[name]))) continue;
    throw usageError(`--${flag!.name}`, alone![0], alone![1]);
  }
  const within = new Set(
    given.flatMap(({ value, beside = [] }) => value === undefined ? [] : beside),
  );
  const meant: { flag: string; ours: string; value: unknown }[] = given
    .filter(({ flag, value }) => value !== undefined && !within.has(flag!.name))
    .map(({ flag, ours, value }) => ({
      flag: flag!.name,
      ours,
      value: value === SAME ? values[flag!.name] : value,
    }));
  for (const { flag, ours, value } of meant) {
    const others = [...meant, { flag: ours, ours, value: result[ours] }];
    const other = others.find((one) => contradicts(one, ours, value));
    if (other !== undefined) {
      throw usageError(`--${flag} and --${other.flag}`, CONTRADICTIONS[ours], "give one of them");
    }
  }
  for (const { ours, value } of meant) result[ours] = value;
  return result;
}

/** Whether another flag stands for a different value of the same flag. */
function contradicts(
  other: { flag: string; ours: string; value: unknown },
  ours: string,
  value: unknown,
): boolean {
  if (other.ours !== ours || other.value === undefined || other.value === value) return false;
  return !VAGUE[ours]?.includes(other.value as string);
}

/** The number of `-v` flags that is equivalent to `--debug_mask`. */
export function verbosityOf(mask: string | undefined): number {
  if (mask === undefined) return 0;
  if (!/^(0x)?[0-9a-f]{1,8}$/i.test(mask)) {
    throw usageError("--debug-mask", `${JSON.stringify(mask)} is not a hexadecimal number`);
  }
  const bits = parseInt(mask, 16);
  return (bits & 0xc) !== 0 ? 2 : (bits & 0x13) !== 0 ? 1 : 0;
}

const isGiven = (value: unknown) => value !== undefined && value !== false && value !== 0;
