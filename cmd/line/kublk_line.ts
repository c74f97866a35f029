/**
 * `ublk kublk …`: a command line in kublk's conventions. kublk's flags mean the same without that
 * word, but its defaults do not apply; this module adds them.
 *
 * @module
 */

import { ADD_FLAGS } from "./add_line.ts";
import { AS_KUBLK } from "./args.ts";
import { spreadLetters } from "./flags.ts";
import { ownSpelling } from "./spellings.ts";
import { valueIn } from "./target_line.ts";
import { ALL, namesTarget } from "./targets.ts";

/** kublk's defaults as flags, and the flags that override them. */
export const GRANTED: readonly { readonly flag: string; readonly short?: string }[] = [
  { flag: "queues=2", short: "q" },
  // `UBLK_IO_MAX_BYTES` in kublk's `kublk.h`.
  { flag: "max-io=1M" },
];

/** The target option that lets several disks write to one file: kublk takes no lock. */
const SHARED = "shared";

/** Converts the arguments of `add` or `recover` to our spelling. */
export function ownArguments(
  command: "add" | "recover",
  args: readonly string[],
): readonly string[] {
  if (args[0] !== AS_KUBLK) return ownSpelling(command, args);
  // The defaults come last: an option that is spelt differently is given too.
  return withGranted(ownSpelling(command, args.slice(1)));
}

/** Adds kublk's defaults to the arguments of `add` or `recover`. */
export function withGranted(args: readonly string[]): readonly string[] {
  const line = spreadLetters(ADD_FLAGS, args).map((arg) =>
    arg.replace(/^--[^=]+/, (name) => name.replaceAll("_", "-"))
  );
  // Without a target, `recover` uses the record.
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
