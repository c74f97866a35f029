/**
 * The names of a volume's objects in its store:
 *
 * ```
 * NAME/head                            replaced, never deleted as long as the volume exists
 * NAME/catalog                         replaced too, and never deleted
 * NAME/keys/0123456789abcdef…          replaced; only of an encrypted volume, by its UUID
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

/** A volume, or one of its snapshots, as people name it. */
export interface VolumeReference {
  /** The volume's name. */
  readonly volume: string;
  /** The snapshot's name; undefined for the volume itself. */
  readonly snapshot?: string;
}

/** Takes `NAME` or `NAME@SNAPSHOT` apart. @throws {UblkError} `INVALID_ARGUMENT` */
export function referenceOf(text: string): VolumeReference {
  const at = text.indexOf("@");
  if (at < 0) return { volume: new ObjectNames(text).volume };
  const { volume } = new ObjectNames(text.slice(0, at));
  return { volume, snapshot: checkedSnapshotName(text.slice(at + 1)) };
}

/** Checks the name of a snapshot. @throws {UblkError} `INVALID_ARGUMENT` */
export function checkedSnapshotName(name: string): string {
  if (isVolumeName(name)) return name;
  throw new UblkError("INVALID_ARGUMENT", {
    operation: "snapshot",
    reason: `"${name}" is no name of a snapshot`,
    hint: "use letters, digits, and _ . - after the first, 128 at most",
  });
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

  /** The catalog. */
  get catalog(): string {
    return `${this.volume}/catalog`;
  }

  /** The names of all keys begin so. */
  get keys(): string {
    return `${this.volume}/keys/`;
  }

  /** The key of a volume with a UUID: two that are created at once do not meet. */
  key(uuid: string): string {
    return this.keys + uuid;
  }

  /** The names of all manifests begin so. */
  get manifests(): string {
    return `${this.volume}/manifests/`;
  }

  /** The names of all runs begin so. */
  get runs(): string {
    return `${this.volume}/maps/`;
  }

  /** The names of all chunks begin so. */
  get chunks(): string {
    return `${this.volume}/chunks/`;
  }

  /** A manifest. */
  manifest(number: number): string {
    return this.manifests + digits(number);
  }

  /** A run of the block map. */
  run(number: number): string {
    return this.runs + digits(number);
  }

  /** A chunk. */
  chunk(number: number): string {
    return this.chunks + digits(number);
  }
}

/**
 * So many numbers are left out if nobody knows which ones a volume has had. A list does not tell: objects
 * may have been deleted since, or are being deleted just now.
 */
export const SKIPPED_NUMBERS: number = 1 << 20;

/** The number in the name of an object that begins so; undefined if it has none. */
export function numberOf(name: string, prefix: string): number | undefined {
  const text = name.startsWith(prefix) ? name.slice(prefix.length) : "";
  return /^[0-9a-f]{16}$/.test(text) ? Number.parseInt(text, 16) : undefined;
}

function digits(number: number): string {
  return number.toString(16).padStart(16, "0");
}
