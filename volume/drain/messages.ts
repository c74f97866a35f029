/**
 * The messages between an engine's thread and its drain's, before and after the device lives. In
 * between they share a board.
 *
 * @module
 */

import type { PackedError } from "../../uapi/packed_error.ts";
import type { Manifest } from "../format/manifest.ts";
import type { Columns } from "../format/run.ts";
import type { JournalIdentity } from "../journal/identity.ts";
import type { JournalEnd } from "../journal/end.ts";
import type { LostJournal } from "../lost.ts";
import type { VolumeKeyFile } from "../seal/key_source.ts";

/** The volume that the drain's thread takes hold of. */
export interface TakeOrder {
  /** The URL or the folder of the store. */
  readonly store: string;
  /** The volume's name. */
  readonly name: string;
  /** The file with the key of an encrypted volume; undefined for none. */
  readonly key?: VolumeKeyFile;
  /** The folder of the journal, which is made if it is missing. */
  readonly folder: string;
  /** Bytes of a segment of a journal that is made. */
  readonly segmentSize: number;
  /** Number of segments of a journal that is made. */
  readonly segments: number;
  /** Go on without the journal. */
  readonly withoutJournal: boolean;
  /** Without the journal: do not wait for the lease of whoever has the volume. */
  readonly force: boolean;
  /** A FLUSH, or a request for a snapshot, is answered only once the store has what it covers. */
  readonly isDurableInStore: boolean;
  /** The lease in milliseconds; 0 for none. */
  readonly leaseMs: number;
  /** Most bytes in a second that are read of chunks whose data is moved; undefined for no limit. */
  readonly gcBandwidth: number | undefined;
  /** The memory of the lease. */
  readonly lease: SharedArrayBuffer;
  /** Who takes it, in words. */
  readonly host: string;
  /** The board. */
  readonly board: SharedArrayBuffer;
  /** The memory of the volume's counters. */
  readonly counters: SharedArrayBuffer;
  /** The eventfd that wakes the engine. */
  readonly wakeFd: number;
}

/** To the drain's thread. One that has taken a volume is told to go on, or to leave it as it is. */
export type ToDrain =
  | { readonly type: "take"; readonly order: TakeOrder }
  | { readonly type: "leave" }
  | { readonly type: "go"; readonly from: JournalEnd; readonly end: JournalEnd };

/** A volume that has been taken, as far as the engine needs it. */
export interface TakenVolume {
  /** The state that the store has. */
  readonly manifest: Manifest;
  /** The runs of its block map, the oldest first. Their memory is the receiver's. */
  readonly runs: readonly Columns[];
  /** The writer's epoch. */
  readonly epoch: number;
  /** The journal. */
  readonly identity: JournalIdentity;
  /** The paths of its files. */
  readonly paths: readonly string[];
  /** The data key of an encrypted volume. Whoever takes it zeroes it. */
  readonly key?: SharedArrayBuffer;
  /** Where the store ends. */
  readonly from: JournalEnd;
  /** The loss, if the journal was given up. */
  readonly lost?: LostJournal;
  /** A line about a journal that was kept in the folder until now, if it may have had data. */
  readonly removed?: string;
  /** The folder in which the store's objects are files, with a slash; undefined if they are none. */
  readonly objects?: string;
}

/** From the drain's thread. */
export type FromDrain =
  | { readonly type: "taken"; readonly volume: TakenVolume }
  | { readonly type: "ended"; readonly error?: PackedError };
