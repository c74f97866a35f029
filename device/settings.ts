/**
 * The options of a device with all defaults filled in.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { hasAdminRights } from "../uring/rights.ts";
import { type DeviceOption, memberValue } from "./option_row.ts";
import { mistakeIn, UNPRIVILEGED_DEADLINE_MS } from "./option_rules.ts";
import { type Defaulted, DEVICE_OPTIONS } from "./option_table.ts";
import type { DeviceOptions } from "./options.ts";

/** Options with all defaults filled in. An undefined member has no default. */
export type Settings =
  & Omit<DeviceOptions, "signal" | "signals">
  & Required<Pick<DeviceOptions, Defaulted | "unprivileged">>;

/**
 * Checks everything that can be checked without a kernel, and fills in the defaults.
 *
 * @param isAdmin Whether this process makes privileged devices.
 * @throws {UblkError} `INVALID_ARGUMENT` with one line about the first mistake.
 */
export function settingsOf(
  options: DeviceOptions,
  isAdmin: () => boolean = hasAdminRights,
): Settings {
  const { signal: _, signals: _s, backend, ...rest } = options;
  const given = { backend, ...withoutNothing(rest) };
  const mistake = mistakeIn(given, (member) => member, isAdmin);
  if (mistake !== undefined) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "serve",
      reason: `${mistake.what}: ${mistake.cause}`,
      hint: mistake.remedy,
    });
  }
  const unprivileged = options.unprivileged ?? !isAdmin();
  const defaults: Record<string, unknown> = { unprivileged };
  for (const row of DEVICE_OPTIONS as readonly DeviceOption[]) {
    // Defaults within a group apply where the group is used.
    if (row.default !== undefined && !row.member.includes(".")) defaults[row.member] = row.default;
  }
  if (unprivileged) defaults.deadlineMs = UNPRIVILEGED_DEADLINE_MS;
  return { ...defaults, ...given } as Settings;
}

/** The options that are given, also within a group: `null`, which has no type here, is not. */
function withoutNothing<T extends object>(options: T): T {
  const given = Object.entries(options)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => [name, isGroup(value) ? withoutNothing(value) : value]);
  return Object.fromEntries(given) as T;
}

function isGroup(value: unknown): value is object {
  return typeof value === "object" && !Array.isArray(value);
}

/** The `UBLK_F_*` flags that the options require. */
export function requiredFeatures(settings: Settings): number {
  let flags = 0;
  for (const row of DEVICE_OPTIONS as readonly DeviceOption[]) {
    const value = memberValue(settings, row.member);
    if (value !== undefined && value !== false) flags |= row.feature ?? 0;
  }
  return flags;
}
