/**
 * What the table of a device's options says of each.
 *
 * @module
 */

import type { Option } from "../disk/option.ts";
import type { DeviceOptions } from "./options.ts";

/** Members of {@linkcode DeviceOptions} that have members of their own. */
export type Group = "integrity" | "sharedMemory" | "topology";

/** Where a value is in {@linkcode DeviceOptions}: `depth`, `integrity.tagSize`. */
export type Member =
  | Exclude<keyof DeviceOptions, "backend" | "signal" | "signals" | Group>
  | { [G in Group]: `${G}.${keyof Required<DeviceOptions>[G] & string}` }[Group];

/** One option of a device. */
export interface DeviceOption extends Omit<Option, "name" | "first" | "required"> {
  /** Its member of {@linkcode DeviceOptions}. */
  readonly member: Member;
  /** Its flag, in kebab case without dashes. Without it no command line has the option. */
  readonly flag?: string;
  /** The flag's letter. */
  readonly short?: string;
  /** The value where none is given. */
  readonly default?: number | boolean;
  /** In words what holds where none is given and there is no {@linkcode default}. */
  readonly otherwise?: string;
  /** The flag switches it off. */
  readonly negated?: true;
  /** The flag's value is a text, for which the API has another shape (`option_rules.ts`). */
  readonly asText?: true;
  /** The `UBLK_F_*` that a device with this option must have. */
  readonly feature?: number;
  /** A device that is recovered keeps what it was made with. */
  readonly fixed?: true;
  /** A number that must be a power of two. */
  readonly powerOfTwo?: true;
  /** Options that cannot be given too. */
  readonly excludes?: readonly Member[];
  /** An option that must be given too. */
  readonly needs?: Member;
  /** In words what is missing without {@linkcode needs}. */
  readonly without?: string;
}

/** Options by their members' names, as far as they are given. */
export type GivenMembers = Readonly<Record<string, unknown>>;

/** The value of a member; undefined where it, or the group that it is in, is not given. */
export function memberValue(options: object, member: Member): unknown {
  const [first, second] = member.split(".");
  const value = (options as GivenMembers)[first];
  return second === undefined ? value ?? undefined : (value as GivenMembers | null)?.[second];
}
