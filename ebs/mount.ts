/**
 * A mount: what is asked for, what there is, and whether the two are the same.
 *
 * @module
 */

import { isUblkError, type UblkErrorCode } from "../uapi/error.ts";
import { EbsError } from "./error.ts";
import type { Claim } from "./exclusion.ts";
import type { Access, Export } from "./exports.ts";
import type { MountRecord } from "./mount_records.ts";

/** A request to mount a volume. */
export interface MountWish {
  /** The volume. */
  readonly volume: string;
  /** How it is reached. */
  readonly access: Access;
  /** Writes are refused. */
  readonly readOnly: boolean;
  /**
   * Take it from a node that is dead: see {@linkcode ExportWish.takes}.
   *
   * @default false
   */
  readonly takes?: boolean;
  /** The instance that it is for. */
  readonly instance?: string;
  /** The name that the instance has for it. */
  readonly device?: string;
  /**
   * The port to listen at, unless this node still knows the one that it had.
   *
   * @default Any
   */
  readonly port?: number;
}

/** A volume that is mounted. */
export interface Mount extends MountWish {
  /** The NBD URI, or the path of the block device. */
  readonly uri: string;
  /** Bytes of the disk. */
  readonly size: number;
  /** When it was mounted, in milliseconds since 1970. */
  readonly time: number;
  /** The generation of its claim; undefined if it is read-only. */
  readonly generation: number | undefined;
}

/** A mount with all that it consists of. */
export interface OpenMount {
  /** As it is recorded on the node's disk. */
  readonly record: MountRecord;
  /** By which it is reached. */
  readonly exported: Export;
  /** None if it is read-only. */
  readonly claim: Claim | undefined;
}

/**
 * Errors after which this node has nothing of the volume any more. `INVALID_ARGUMENT` says nothing of that:
 * after a start with a wrong host or an unreadable key, all attachments and journals were given up.
 */
const FINAL: ReadonlySet<UblkErrorCode> = new Set([
  ...["VOLUME_NOT_FOUND", "VOLUME_JOURNAL", "VOLUME_FENCED"] as const,
]);

/** The public part of a mount. */
export function mountOf({ record, exported, claim }: OpenMount): Mount {
  const { volume, access, readOnly, instance, device, time } = record;
  const { uri, size, port } = exported;
  return {
    ...{ volume, access, readOnly, instance, device, time, uri, size, port },
    generation: claim?.generation,
  };
}

/** The wish that a record is of. */
export function wishOf({ volume, access, readOnly, instance, device }: MountRecord): MountWish {
  return { volume, access, readOnly, instance, device };
}

/** The mount that there is, if it is the one that is wished for. @throws {EbsError} `volume_in_use` */
export function sameMount(
  entry: OpenMount,
  { volume, access, readOnly, instance, device }: MountWish,
): Mount {
  const { record } = entry;
  const isSame = record.access === access && record.readOnly === readOnly &&
    (record.instance ?? instance) === (instance ?? record.instance) &&
    (record.device ?? device) === (device ?? record.device);
  if (isSame) return mountOf(entry);
  const how = `${record.readOnly ? "read-only" : "for writing"}, by ${record.access}` +
    (record.instance === undefined ? "" : `, for ${record.instance}`) +
    (record.device === undefined ? "" : `, as ${record.device}`);
  throw new EbsError("volume_in_use", `volume ${volume} is mounted on this node already: ${how}`);
}

/** Whether an error says that this node has nothing of the volume. */
export function isFinal(error: unknown): boolean {
  const cause = error instanceof EbsError && error.cause !== undefined ? error.cause : error;
  if (isUblkError(cause)) return FINAL.has(cause.code);
  return cause instanceof EbsError && cause.code === "not_found";
}
