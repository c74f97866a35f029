/**
 * Device options as command-line flags, and their values as options. Everything comes from the
 * table in `device/option_rows.ts` and the table of kublk's spellings.
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

/** The block size is up to the backend, whichever it is. */
const BLOCK_SIZE: Flag = {
  name: "block-size",
  kind: "size",
  choices: BLOCK_SIZES,
  help: `Logical block: ${BLOCK_SIZES.join(", ")} bytes. ` +
    "Default: 512, or that of a device below.",
};

/** Behaviour of a command if a device with the number exists. */
const RESUME: Flag = {
  name: "resume",
  kind: "switch",
  help: "Continue with what an earlier server left of the device: recover it, or " +
    "make it anew where that does not go. Needs --id.",
};

/** The flags of device options. */
export const DEVICE_FLAGS: readonly Flag[] = [
  ...ROWS.filter(({ flag }) => flag !== undefined).map(flagOf),
  BLOCK_SIZE,
  RESUME,
].flatMap(withRewrites);

/** Values of flags by name. */
export type FlagValues = Readonly<Record<string, unknown>>;

/** The flag of a row in the table. */
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

/**
 * The help's last sentence, such as `Default: 512K.`; empty for a switch, which is off by default.
 */
function defaultText({ kind, default: value, otherwise }: DeviceOption): string {
  if (kind === "switch") return "";
  if (typeof value !== "number") return ` Default: ${otherwise}.`;
  if (kind === "size") {
    return ` Default: ${value >= 2 ** 20 ? `${value >> 20}M` : `${value >> 10}K`}.`;
  }
  return ` Default: ${kind === "time" ? `${value / 1000}s` : value}.`;
}

/** The flag of a member, for messages. */
function flagName(member: Member): string {
  return `--${optionOf(member).flag}`;
}

/**
 * Converts the given flags, in either spelling, to options.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` with one line about a contradiction.
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
  // kublk writes the kernel's choice as -1.
  return member === "id" && value === -1 ? undefined : value;
}

function put(options: Record<string, unknown>, member: Member, value: unknown): void {
  const [first, second] = member.split(".");
  if (second === undefined) options[first] = value;
  else options[first] = { ...options[first] as object, [second]: value };
}

/** The options that apply to an existing device; all others keep the value it was made with. */
export function recoveryOptions(options: ServingOptions): ServingOptions {
  const kept: Record<string, unknown> = {};
  for (const { member, fixed } of ROWS) {
    const value = memberValue(options, member);
    if (!fixed && value !== undefined) put(kept, member, value);
  }
  return kept;
}
