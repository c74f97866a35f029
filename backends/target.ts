/**
 * What a command line has to know of a backend that it can serve by name.
 *
 * @module
 */

import type { BackendSpec } from "./spec.ts";

/** One option of a target, without a word about how command lines are read. */
export interface TargetOption {
  /** In kebab case, without dashes. With underscores instead it is the same option. */
  readonly name: string;
  /** What it takes: nothing, bytes, a whole number, any number, or a text. */
  readonly kind: "switch" | "size" | "integer" | "number" | "text";
  /** What its value stands for in the help; the kind where left out. */
  readonly placeholder?: string;
  /** The least value. */
  readonly min?: number;
  /** The greatest value. */
  readonly max?: number;
  /** The only values that there are. */
  readonly choices?: readonly number[];
  /** What it does, for the help. */
  readonly help: string;
}

/** The value of an option, by its kind. */
export type TargetValue = boolean | number | string | undefined;

/**
 * The values of a target's own options, by name, and of those which every device has and a backend
 * wants to know.
 */
export interface TargetValues {
  /** The logical block in bytes. */
  readonly "block-size"?: number;
  /** The kernel refuses writes. */
  readonly "read-only"?: boolean;
  /** Bytes of integrity metadata per block. */
  readonly "metadata-size"?: number;
  /** The target's own. */
  readonly [name: string]: TargetValue;
}

/** A backend that a command line can name. */
export interface Target {
  /** What it is called. */
  readonly name: string;
  /** What it is called as well. */
  readonly aliases?: readonly string[];
  /** What it is, in a few words. */
  readonly summary: string;
  /** What it holds outlives its server. */
  readonly persistent: boolean;
  /** How many files it takes, beside its options. */
  readonly files: { readonly min: number; readonly max: number };
  /** Its own options. */
  readonly options: readonly TargetOption[];
  /**
   * The specification of a backend.
   *
   * @throws {RangeError} Where a value is not possible.
   * @throws {UblkError} `INVALID_ARGUMENT`, likewise.
   */
  spec(values: TargetValues, files: readonly string[]): BackendSpec;
}
