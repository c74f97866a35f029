/**
 * The journal, sealed. Each opening of a volume draws a salt, and so has a key of its own; by that it
 * seals with a count that begins at 1 and never goes back. Nothing about it must be durable: the next
 * opening, whatever this one has left in the journal's files, has another key.
 *
 * A batch takes a row of counts when it begins to collect: the first for its header, one for each block
 * that it may get. What it does not need is never used. A batch that is sealed stays as it is: a write
 * that was cut short goes on with the same bytes.
 *
 * ```
 *  0  the batch's header in the clear; 56 is the first of its counts, 0 in one that is not sealed
 * 64  salt   16 bytes: of the opening that wrote it
 * 80  encrypted: the extents, and per block of data a tag of 16 bytes
 *  …  per block of data: u32, the sum of its bytes as they lie there
 *  …  tag    16 bytes; what stands before 80 is authenticated besides, with the sum as 0
 * ```
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { type BatchExtent, type BatchHeader, extentsIn } from "../format/journal.ts";
import {
  BATCH_HEADER_BYTES,
  EXTENT_BYTES,
  SEALED_EXTENTS_AT,
  wholePages,
} from "../format/journal_layout.ts";
import { Fields } from "../format/record.ts";
import { seal, TAG_BYTES, unseal } from "./gcm.ts";
import { newSalt, type VolumeKey } from "./volume_key.ts";

const SUM_AT = 4;

/** Seals what one opening writes to the journal. */
export class JournalSealer {
  /** Its salt. */
  readonly salt: Uint8Array<ArrayBuffer> = newSalt();
  /** Its key. */
  readonly key: Uint8Array<ArrayBuffer>;
  #next = 1;

  /** An opening of a volume's journal, by their UUIDs. */
  constructor(key: VolumeKey, volume: string, journal: string) {
    this.key = key.journalKey(volume, journal, this.salt);
  }

  /** Takes counts that nobody else gets. @returns The first one. */
  take(counts: number): number {
    const first = this.#next;
    this.#next += counts;
    return first;
  }

  /**
   * Seals the header of a batch: its extents and tags, in place.
   *
   * @param header All of it but for its sum, which is 0, and its tag, which comes last.
   */
  sealHeader(header: Uint8Array<ArrayBuffer>, count: number, bodyBytes: number): void {
    const body = header.subarray(SEALED_EXTENTS_AT, SEALED_EXTENTS_AT + bodyBytes);
    const clear = header.subarray(0, SEALED_EXTENTS_AT);
    seal(this.key, count, clear, body, body, header.subarray(header.length - TAG_BYTES));
  }
}

/** A batch that can be read: it was opened, or is not sealed. */
export interface OpenedBatch {
  /** Its extents, in their order. */
  extents(): Generator<BatchExtent>;
  /** What opens its blocks; undefined for a batch that is not sealed. */
  readonly seals: BatchSeals | undefined;
}

/** What opens the blocks of a batch. */
export interface BatchSeals {
  /** The key of its opening. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** The count of its first block. */
  readonly count: number;
  /** The tags of its blocks. */
  readonly tags: Uint8Array<ArrayBuffer>;
}

/** Opens the batches of a journal, whichever opening wrote them. */
export class JournalOpener {
  readonly #key: VolumeKey | undefined;
  readonly #volume: string;
  readonly #journal: string;
  readonly #blockSize: number;
  readonly #words: string;
  readonly #keys = new Map<string, Uint8Array<ArrayBuffer>>();

  /**
   * A journal of a volume, by their UUIDs.
   *
   * @param key Undefined for a volume that is not encrypted.
   * @param words The journal in words, for errors.
   */
  constructor(
    key: VolumeKey | undefined,
    { volume, journal, blockSize }: {
      readonly volume: string;
      readonly journal: string;
      readonly blockSize: number;
    },
    words: string,
  ) {
    this.#key = key;
    this.#volume = volume;
    this.#journal = journal;
    this.#blockSize = blockSize;
    this.#words = words;
  }

  /**
   * Opens a sound batch.
   *
   * @throws {UblkError} `VOLUME_DAMAGED` if it was not sealed by this volume, just there.
   */
  open(bytes: Uint8Array<ArrayBuffer>, header: BatchHeader): OpenedBatch {
    const { extents, headerBytes, dataBytes, count } = header;
    const dataAt = wholePages(headerBytes);
    const blockSize = this.#blockSize;
    if (this.#key === undefined && count === 0) {
      const table = bytes.subarray(BATCH_HEADER_BYTES);
      return { extents: () => extentsIn(table, extents, dataAt, blockSize), seals: undefined };
    }
    if (this.#key === undefined || count === 0) throw this.#unopened(header);
    const blocks = dataBytes / blockSize;
    const body = new Uint8Array(extents * EXTENT_BYTES + blocks * TAG_BYTES);
    const sealed = bytes.subarray(SEALED_EXTENTS_AT, SEALED_EXTENTS_AT + body.length);
    const clear = bytes.slice(0, SEALED_EXTENTS_AT);
    new Fields(clear).setU32(SUM_AT, 0);
    const key = this.#keyOf(clear.subarray(BATCH_HEADER_BYTES));
    const tag = bytes.subarray(headerBytes - TAG_BYTES, headerBytes);
    if (!unseal(key, count, clear, sealed, body, tag)) throw this.#unopened(header);
    const tags = body.subarray(extents * EXTENT_BYTES);
    return {
      extents: () => extentsIn(body, extents, dataAt, blockSize),
      seals: { key, count: count + 1, tags },
    };
  }

  /**
   * Copies blocks of a batch to where they can be read.
   *
   * @param nth Which of the batch's blocks the first one is.
   * @throws {UblkError} `VOLUME_DAMAGED`
   */
  copy(
    header: BatchHeader,
    { seals }: OpenedBatch,
    from: Uint8Array<ArrayBuffer>,
    to: Uint8Array<ArrayBuffer>,
    nth: number,
  ): void {
    if (seals === undefined) return to.set(from);
    const { key, count, tags } = seals;
    for (let at = 0; at < from.length; at += this.#blockSize, nth++) {
      const [block, room] = [from, to].map((bytes) => bytes.subarray(at, at + this.#blockSize));
      const tag = tags.subarray(nth * TAG_BYTES, (nth + 1) * TAG_BYTES);
      if (!unseal(key, count + nth, undefined, block, room, tag)) throw this.#unopened(header);
    }
  }

  #keyOf(salt: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const name = salt.toHex();
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    const key = this.#key!.journalKey(this.#volume, this.#journal, salt);
    this.#keys.set(name, key);
    return key;
  }

  #unopened({ sequence }: BatchHeader): UblkError {
    return new UblkError("VOLUME_DAMAGED", {
      operation: this.#words,
      reason: `the volume's key does not open batch ${sequence}: it was changed, exchanged, or ` +
        "never sealed",
      hint: "attach without the journal to go on with what the store has",
    });
  }
}
