/**
 * `ublk kublk …`: a command line as `kublk` takes it. Every flag of kublk's means the same in a line
 * without that word; what it takes for granted does not, and is added here.
 *
 * @module
 */

import { ADD_FLAGS } from "./add_line.ts";
import { AS_KUBLK } from "./args.ts";
import { spreadLetters } from "./flags.ts";
import { ownSpelling } from "./spellings.ts";
import { valueIn } from "./target_line.ts";
import { ALL, namesTarget } from "./targets.ts";

/** What kublk does unless told otherwise, as flags, and what says otherwise. */
export const GRANTED: readonly { readonly flag: string; readonly short?: string }[] = [
  { flag: "queues=2", short: "q" },
  // `UBLK_IO_MAX_BYTES` in its `kublk.h`.
  { flag: "max-io=1M" },
];

/** The option of targets by which several disks may write one file: kublk takes no lock. */
const SHARED = "shared";

/** The arguments of `add` or `recover` in our spelling, whichever spelling they are in. */
export function ownArguments(
  command: "add" | "recover",
  args: readonly string[],
): readonly string[] {
  if (args[0] !== AS_KUBLK) return ownSpelling(command, args);
  // In this order: what is spelt otherwise is given all the same.
  return withGranted(ownSpelling(command, args.slice(1)));
}

/** The arguments of `add` or `recover`, and what kublk takes for granted. */
export function withGranted(args: readonly string[]): readonly string[] {
  const line = spreadLetters(ADD_FLAGS, args).map((arg) =>
    arg.replace(/^--[^=]+/, (name) => name.replaceAll("_", "-"))
  );
  // Without a target, `recover` goes by its record.
  if (!namesTarget(line)) return args;
  const granted = GRANTED.filter(({ flag, short }) =>
    valueIn(line, flag.split("=")[0], short) === undefined
  ).map(({ flag }) => `--${flag}`);
  return [...granted, ...(canShare(line) ? [`--${SHARED}`] : []), ...args];
}

function canShare(line: readonly string[]): boolean {
  if (line.includes(`--${SHARED}`)) return false;
  const type = valueIn(line, "type", "t")?.replaceAll("_", "-");
  const target = ALL.find(({ name, aliases = [] }) =>
    [name, ...aliases].some((one) => one.replaceAll("_", "-") === type)
  );
  return target?.options.some(({ name }) => name === SHARED) === true;
}
