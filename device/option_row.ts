/**
 * The shape of a row in the table of device options.
 *
 * @module
 */

import type { Option } from "../disk/option.ts";
import type { DeviceOptions } from "./options.ts";

/** Members of {@linkcode DeviceOptions} that have members of their own. */
export type Group = "integrity" | "sharedMemory" | "topology";

/** The path of a value in {@linkcode DeviceOptions}: `depth`, `integrity.tagSize`. */
export type Member =
  | Exclude<keyof DeviceOptions, "backend" | "signal" | "signals" | Group>
  | { [G in Group]: `${G}.${keyof Required<DeviceOptions>[G] & string}` }[Group];

/** One option of a device. */
export interface DeviceOption extends Omit<Option, "name" | "first" | "required"> {
  /** Its member of {@linkcode DeviceOptions}. */
  readonly member: Member;
  /**
   * Its flag, in kebab case without dashes. An option without a flag is not available on command
   * lines.
   */
  readonly flag?: string;
  /** The flag's letter. */
  readonly short?: string;
  /** The value if none is given. */
  readonly default?: number | boolean;
  /** Describes the default in words, for an option without a fixed {@linkcode default}. */
  readonly otherwise?: string;
  /** The flag turns the option off. */
  readonly negated?: true;
  /** The flag's value is a string; the API takes another type (`option_rules.ts`). */
  readonly asText?: true;
  /** The `UBLK_F_*` flag that a device with this option must have. */
  readonly feature?: number;
  /** The value is fixed when a device is made; recovery cannot change it. */
  readonly fixed?: true;
  /** The number must be a power of two. */
  readonly powerOfTwo?: true;
  /** Options that exclude this one. */
  readonly excludes?: readonly Member[];
  /** An option that this one requires. */
  readonly needs?: Member;
  /** The cause of the error if the {@linkcode needs} option is missing. */
  readonly without?: string;
}

/** Given options by member name. */
export type GivenMembers = Readonly<Record<string, unknown>>;

/** The value of a member; undefined if it or its group is not given. */
export function memberValue(options: object, member: Member): unknown {
  const [first, second] = member.split(".");
  const value = (options as GivenMembers)[first];
  return second === undefined ? value ?? undefined : (value as GivenMembers | null)?.[second];
}
