/**
 * The names of a volume's objects in its store:
 *
 * ```
 * NAME/head                            replaced, never deleted as long as the volume exists
 * NAME/manifests/0000000000000007      immutable, as all others
 * NAME/maps/0000000000000012
 * NAME/chunks/000000000000002a
 * ```
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

/** The parts of a volume's name that an object store takes, and a shell. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Whether a text is the name of a volume. */
export function isVolumeName(name: string): boolean {
  return NAME.test(name);
}

/** The names of one volume's objects. */
export class ObjectNames {
  /** The volume's name. */
  readonly volume: string;

  /** Checks the name. @throws {UblkError} `INVALID_ARGUMENT` */
  constructor(volume: string) {
    if (typeof volume !== "string" || !isVolumeName(volume)) {
      throw new UblkError("INVALID_ARGUMENT", {
        operation: "volume",
        reason: `"${volume}" is no name of a volume`,
        hint: "use letters, digits, and _ . - after the first, 128 at most",
      });
    }
    this.volume = volume;
  }

  /** The head. */
  get head(): string {
    return `${this.volume}/head`;
  }

  /** A manifest. */
  manifest(number: number): string {
    return `${this.volume}/manifests/${digits(number)}`;
  }

  /** A run of the block map. */
  run(number: number): string {
    return `${this.volume}/maps/${digits(number)}`;
  }

  /** A chunk. */
  chunk(number: number): string {
    return `${this.volume}/chunks/${digits(number)}`;
  }
}

function digits(number: number): string {
  return number.toString(16).padStart(16, "0");
}
