/**
 * What a command line has to know of a backend that it can serve by name.
 *
 * @module
 */

import type { Option } from "./option.ts";
import type { BackendSpec } from "./spec.ts";

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
  readonly [name: string]: unknown;
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
  readonly options: readonly Option[];
  /** The option that one word more than its files gives, by name: `ublk-mem 1G`. */
  readonly operand?: string;
  /**
   * What it does while the disk is made, where that may take long. It may then be told, as `progress`,
   * of a `SharedArrayBuffer` of two numbers that it keeps up to date: what is done, and of how much.
   */
  readonly progress?: string;
  /**
   * The specification of a backend.
   *
   * @throws {RangeError} Where a value is not possible.
   * @throws {UblkError} `INVALID_ARGUMENT`, likewise.
   */
  spec(values: TargetValues, files: readonly string[]): BackendSpec;
}
