/**
 * The description of a target: a backend that command lines can serve by name.
 *
 * @module
 */

import type { Option } from "./option.ts";
import type { BackendSpec } from "./spec.ts";

/**
 * The values of a target's options by name: its own, and those of the device that a backend needs
 * to know.
 */
export interface TargetValues {
  /** Size of a logical block in bytes. */
  readonly "block-size"?: number;
  /** The disk is read-only: the kernel refuses writes. */
  readonly "read-only"?: boolean;
  /** Bytes of integrity metadata per block. */
  readonly "metadata-size"?: number;
  /** The target's own options. */
  readonly [name: string]: unknown;
}

/** A backend that a command line can name. */
export interface Target {
  /** The name. */
  readonly name: string;
  /** Other names. */
  readonly aliases?: readonly string[];
  /** A short description. */
  readonly summary: string;
  /** The contents outlive the server. */
  readonly persistent: boolean;
  /** Number of files that the target takes, in addition to its options. */
  readonly files: { readonly min: number; readonly max: number };
  /** The target's own options. */
  readonly options: readonly Option[];
  /** Name of the option that one extra word after the files sets: `ublk-mem 1G`. */
  readonly operand?: string;
  /**
   * Description of the work while the disk is made, if that may take long. The backend may then
   * receive an option `progress`: a `SharedArrayBuffer` of two numbers that it keeps up to date,
   * the work done and the total.
   */
  readonly progress?: string;
  /**
   * Makes the specification of a backend.
   *
   * @throws {RangeError} If a value is invalid.
   * @throws {UblkError} `INVALID_ARGUMENT`, likewise.
   */
  spec(values: TargetValues, files: readonly string[]): BackendSpec;
}
