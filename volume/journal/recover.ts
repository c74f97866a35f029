/**
 * Brings an engine's maps to where its journal ends.
 *
 * The journal's batches are made durable before they are believed: a server that was killed has left
 * answered writes in the page cache, and the next FLUSH must not find them clean by mistake. What is
 * read then comes from the disk: of what an earlier sync could not write, the page cache may still
 * have a copy.
 *
 * @module
 */

import type { File } from "../../files/port.ts";
import { sumsOf } from "../format/journal.ts";
import { JOURNAL_UNIT, SUM_BYTES, wholePages } from "../format/journal_layout.ts";
import { JournalOpener, type OpenedBatch } from "../seal/journal.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import { JournalSeals } from "./seals.ts";
import type { Maps } from "../maps.ts";
import type { ScannedEnd } from "./end.ts";
import { scanJournal, type ScannedBatch } from "./scan.ts";
import type { JournalEnd } from "./end.ts";

/** The parts of a recovery. */
export interface RecoveryParts {
  /** The journal's files. */
  readonly files: readonly File[];
  /** The volume's UUID. */
  readonly volume: string;
  /** The journal's UUID. */
  readonly journal: string;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Bytes of a segment. */
  readonly size: number;
  /** Up to where the store has it. */
  readonly from: JournalEnd;
  /** The maps, which have what the store has. */
  readonly maps: Maps;
  /** The journal in words, for errors. */
  readonly words: string;
  /** The data key; undefined for a volume that is not encrypted. */
  readonly key: VolumeKey | undefined;
}

/** A journal that has been read. */
export interface RecoveredJournal {
  /** Where it continues. All of it is durable. */
  readonly end: ScannedEnd;
  /**
   * Where the first batch is that the store did not have, or will be. Not where the store ends: a
   * new journal has nothing there, and a segment whose header was lost may have a batch there that
   * was given up with it. The drain would take that one.
   */
  readonly start: JournalEnd;
  /** Of each file, the sums of its blocks of data, by their offset in units. */
  readonly sums: readonly Uint32Array<ArrayBuffer>[];
  /** What opens these blocks; undefined for a volume that is not encrypted. */
  readonly seals: JournalSeals | undefined;
  /** Batches that the store did not have. */
  readonly batches: number;
}

/** Reads a journal from where the store ends, and enters it into the maps. */
export function recoverJournal(parts: RecoveryParts): RecoveredJournal {
  const { files, size, blockSize, maps, key, words } = parts;
  for (const file of files) {
    file.sync(true);
    file.dropCache();
  }
  const sums = files.map(() => new Uint32Array(size / JOURNAL_UNIT));
  const seals = key && new JournalSeals(files.length, size, blockSize);
  const opener = new JournalOpener(key, parts, words);
  using scan = scanJournal(parts);
  let batches = 0;
  let start: JournalEnd | undefined = undefined;
  for (;;) {
    const step = scan.next();
    if (step.done) {
      const end = step.value;
      return { end, start: start ?? { ...end, position: end.next }, sums, seals, batches };
    }
    start ??= { ...parts.from, position: step.value.position };
    const { header, bytes, position } = step.value;
    const file = Math.floor(position / size) % files.length;
    const opened = opener.open(bytes, header);
    enter(step.value, opened, maps, blockSize, sums[file], size);
    if (seals !== undefined && opened.seals !== undefined) {
      const dataAt = position % size + wholePages(header.headerBytes);
      seals.enter(file, dataAt, header.dataBytes / blockSize, opened.seals);
    }
    batches++;
  }
}

function enter(
  { header, bytes, position }: ScannedBatch,
  opened: OpenedBatch,
  maps: Maps,
  blockSize: number,
  sums: Uint32Array<ArrayBuffer>,
  size: number,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let sumAt = sumsOf(header, blockSize);
  for (const { block, count, hole, at } of opened.extents()) {
    // The disk may have become smaller since.
    const kept = Math.min(count, maps.blocks - block);
    if (hole) {
      if (kept > 0) maps.hole(block, kept, position / JOURNAL_UNIT);
      continue;
    }
    if (kept > 0) maps.write(block, kept, (position + at) / JOURNAL_UNIT);
    let unit = (position + at) % size / JOURNAL_UNIT;
    for (let nth = 0; nth < count; nth++, sumAt += SUM_BYTES, unit += blockSize / JOURNAL_UNIT) {
      sums[unit] = view.getUint32(sumAt, true);
    }
  }
}
