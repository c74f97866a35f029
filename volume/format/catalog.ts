/**
 * The catalog: one small object per volume, replaced by compare-and-swap and never deleted. It names
 * the manifests that are kept although the head does not name them: those of snapshots, of clones,
 * and of whoever reads the volume beside its writer.
 *
 * ```
 *   0  record    magic "UBLKCATA"
 *  32  nonce     16 bytes, random: no two catalogs have equal bytes
 *  48  floor     u64: what only older manifests name may be gone; none of them gets a name any more
 *  56  entries   u32: their number
 *  60  flags     u32: 1 the volume has been removed, or is about to be
 *  64  chunk     u64: of a removed volume: the number for the first chunk of the next of that name
 *  72  run       u64: likewise
 *  80  manifest  u64: likewise
 *  88  least     u64: no older manifest says what is needed, because of a rollback
 *  96  copy      16 bytes, random: of which copy it is; zeroes for a volume that is none
 * 112  zeroes    16 bytes
 * 128  per entry, sorted by kind and name:
 *        0 name 128 bytes of text · 128 manifest u64 · 136 sum u32 ·
 *      140 kind u32: 0 a snapshot, 1 a reader, 2 a clone · 144 time u64 · 152 size u64 ·
 *      160 id 16 bytes · 176 16 zeroes
 * ```
 *
 * @module
 */

import {
  beginRecord,
  FormatError,
  NO_UUID,
  openRecord,
  type RecordKind,
  sealRecord,
  volumeOfRecord,
} from "./record.ts";

const KIND: RecordKind = { magic: "UBLKCATA", version: 1, words: "a volume's catalog" };
const HEADER_BYTES = 128;
const ENTRY_BYTES = 192;
const NAME_BYTES = 128;
const REMOVED = 1;
const KINDS = ["snapshot", "reader", "clone"] as const;

/** The reason why a manifest is kept. */
export type CatalogKind = typeof KINDS[number];

/** A manifest that is kept. */
export interface CatalogEntry {
  /** A snapshot's name, a reader in words, or a clone's name. */
  readonly name: string;
  /** Why it is kept. */
  readonly kind: CatalogKind;
  /** The manifest's number. */
  readonly manifest: number;
  /** The manifest's sum. */
  readonly manifestSum: number;
  /** When the entry was made, in milliseconds since 1970. */
  readonly time: number;
  /** Of the disk, in bytes. */
  readonly size: number;
  /** Random; a clone's is its volume's UUID. */
  readonly id: string;
}

/** The contents of a catalog. */
export interface Catalog {
  /** The volume's UUID. */
  readonly volume: string;
  /** Random, and new in each catalog. */
  readonly nonce: string;
  /** The oldest manifest that an entry may still be made for. */
  readonly floor: number;
  /** The oldest manifest that garbage may be judged by: the volume was rolled back to it. */
  readonly least: number;
  /**
   * Of which copy it is, at random: a copy has the UUID of its volume, and goes its own way. Undefined
   * for a volume that is none.
   */
  readonly copy?: string;
  /** What is kept. */
  readonly entries: readonly CatalogEntry[];
  /** The numbers with which a volume of this name begins, if this one has been removed. */
  readonly removed?: FirstNumbers;
}

/** The first numbers of a volume's objects. */
export interface FirstNumbers {
  /** Of chunks. */
  readonly chunk: number;
  /** Of runs. */
  readonly run: number;
  /** Of manifests. */
  readonly manifest: number;
}

/** A catalog as bytes. */
export function encodeCatalog(catalog: Catalog): Uint8Array<ArrayBuffer> {
  const { entries, removed } = catalog;
  const bytes = new Uint8Array(HEADER_BYTES + entries.length * ENTRY_BYTES);
  const fields = beginRecord(bytes, KIND, catalog.volume);
  fields.setUuid(32, catalog.nonce);
  fields.setU64(48, catalog.floor);
  fields.setU32(56, entries.length);
  fields.setU64(88, catalog.least);
  fields.setUuid(96, catalog.copy ?? NO_UUID);
  if (removed !== undefined) {
    fields.setU32(60, REMOVED);
    fields.setU64(64, removed.chunk);
    fields.setU64(72, removed.run);
    fields.setU64(80, removed.manifest);
  }
  entries.toSorted(inOrder).forEach((entry, nth) => {
    const at = HEADER_BYTES + nth * ENTRY_BYTES;
    fields.setText(at, NAME_BYTES, entry.name);
    fields.setU64(at + 128, entry.manifest);
    fields.setU32(at + 136, entry.manifestSum);
    fields.setU32(at + 140, KINDS.indexOf(entry.kind));
    fields.setU64(at + 144, entry.time);
    fields.setU64(at + 152, entry.size);
    fields.setUuid(at + 160, entry.id);
  });
  sealRecord(fields);
  return bytes;
}

/** Reads a catalog. @throws {FormatError} */
export function decodeCatalog(bytes: Uint8Array<ArrayBuffer>): Catalog {
  const fields = openRecord(bytes, KIND);
  if (bytes.length < HEADER_BYTES) throw new FormatError("it is too short for a catalog");
  if (bytes.length !== HEADER_BYTES + fields.u32(56) * ENTRY_BYTES) {
    throw new FormatError("its length does not fit its number of entries");
  }
  const entries: CatalogEntry[] = [];
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const kind = KINDS.at(fields.u32(at + 140));
    // What is kept for an unknown reason must be kept all the same: so this one may not go on.
    if (kind === undefined) throw new FormatError("an entry is of an unknown kind");
    entries.push({
      ...{ name: fields.text(at, NAME_BYTES), kind },
      ...{ manifest: fields.u64(at + 128), manifestSum: fields.u32(at + 136) },
      ...{ time: fields.u64(at + 144), size: fields.u64(at + 152), id: fields.uuid(at + 160) },
    });
  }
  const isRemoved = (fields.u32(60) & REMOVED) !== 0;
  const copy = fields.uuid(96);
  return {
    ...{ volume: volumeOfRecord(fields), nonce: fields.uuid(32), floor: fields.u64(48) },
    ...{ least: fields.u64(88), entries },
    ...copy === NO_UUID ? {} : { copy },
    ...isRemoved
      ? { removed: { chunk: fields.u64(64), run: fields.u64(72), manifest: fields.u64(80) } }
      : {},
  };
}

function inOrder(left: CatalogEntry, right: CatalogEntry): number {
  return KINDS.indexOf(left.kind) - KINDS.indexOf(right.kind) ||
    (left.name < right.name ? -1 : left.name > right.name ? 1 : 0);
}
