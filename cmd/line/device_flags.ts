/**
 * The options of a device as flags of a command line, and what they come to: all from the table in
 * `device/option_rows.ts`, and from that of kublk's spelling.
 *
 * @module
 */

import { BLOCK_SIZES } from "../../uapi/block_sizes.ts";
import { type DeviceOption, type Member, memberValue } from "../../device/option_row.ts";
import { mistakeIn } from "../../device/option_rules.ts";
import { DEVICE_OPTIONS, kernelOf, optionOf } from "../../device/option_table.ts";
import type { ServingOptions } from "../devices/disk_request.ts";
import { hasAdminRights } from "../../uring/rights.ts";
import { parseCpuLists } from "./cpus.ts";
import { type Flag, usageError } from "./flags.ts";
import { inOurSpelling, withRewrites } from "./kublk.ts";

const ROWS: readonly DeviceOption[] = DEVICE_OPTIONS;

/** The blocks of a disk are its backend's business, whatever that is. */
const BLOCK_SIZE: Flag = {
  name: "block-size",
  kind: "size",
  choices: BLOCK_SIZES,
  help: `Logical block: ${BLOCK_SIZES.join(", ")} bytes. ` +
    "Default: 512, or that of a device below.",
};

/** How a command goes about it where there is a device of that number. */
const RESUME: Flag = {
  name: "resume",
  kind: "switch",
  help: "Go on with what a server before has left of the device: recover it, or " +
    "make it anew where that does not go. Needs --id.",
};

/** The flags. */
export const DEVICE_FLAGS: readonly Flag[] = [
  ...ROWS.filter(({ flag }) => flag !== undefined).map(flagOf),
  BLOCK_SIZE,
  RESUME,
].flatMap(withRewrites);

/** Flags by name. */
export type FlagValues = Readonly<Record<string, unknown>>;

/** An option of the table as a flag. */
function flagOf(row: DeviceOption): Flag {
  const { flag, short, kind, placeholder, choices, min, max, multipleOf } = row;
  const kernel = kernelOf(row);
  const since = kernel === undefined ? "" : ` (Linux ${kernel})`;
  const given = { short, placeholder, choices, min, max, multipleOf };
  return {
    name: flag!,
    kind,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    help: `${row.help}${since}.${defaultText(row)}`,
  };
}

/** `Default: 512K.`; nothing for a switch, which is off. */
function defaultText({ kind, default: value, otherwise }: DeviceOption): string {
  if (kind === "switch") return "";
  if (typeof value !== "number") return ` Default: ${otherwise}.`;
  if (kind === "size") {
    return ` Default: ${value >= 2 ** 20 ? `${value >> 20}M` : `${value >> 10}K`}.`;
  }
  return ` Default: ${kind === "time" ? `${value / 1000}s` : value}.`;
}

/** The flag of a member, for a message. */
function flagName(member: Member): string {
  return `--${optionOf(member).flag}`;
}

/**
 * The flags as options: those that are given, in either spelling.
 *
 * @throws {UblkError} `INVALID_ARGUMENT`: one line about what contradicts what.
 */
export function servingOptions(values: FlagValues): ServingOptions {
  const ours = inOurSpelling(values);
  const options: Record<string, unknown> = {};
  for (const row of ROWS) {
    const value = row.flag === undefined ? undefined : ours[row.flag];
    if (value === undefined || value === false) continue;
    put(options, row.member, row.negated ? false : valueOf(row.member, value));
  }
  const mistake = mistakeIn(options, flagName, hasAdminRights);
  if (mistake !== undefined) throw usageError(mistake.what, mistake.cause, mistake.remedy);
  if (values.resume && options.id === undefined) {
    throw usageError("--resume", "it is not said which device", "give --id too");
  }
  return options;
}

function valueOf(member: Member, value: unknown): unknown {
  if (member === "affinity") return parseCpuLists(value as string);
  // The kernel's choice, as kublk writes it.
  return member === "id" && value === -1 ? undefined : value;
}

function put(options: Record<string, unknown>, member: Member, value: unknown): void {
  const [first, second] = member.split(".");
  if (second === undefined) options[first] = value;
  else options[first] = { ...options[first] as object, [second]: value };
}

/** The options that count for a device which is there: with all others it stays as it was made. */
export function recoveryOptions(options: ServingOptions): ServingOptions {
  const kept: Record<string, unknown> = {};
  for (const { member, fixed } of ROWS) {
    const value = memberValue(options, member);
    if (!fixed && value !== undefined) put(kept, member, value);
  }
  return kept;
}
