/**
 * The store of an encrypted volume as if it were none: what is put into it is sealed, and what is read
 * from it is opened. Objects are as long as before but for the seal of manifests and runs, and the
 * blocks of a chunk are where they were; so ranges of chunks can be read as well.
 *
 * Whatever does not open is handed on as bytes that no decoder takes, and a block that does not open as
 * others, which its sum in the table tells: whoever reads it says of which object it is, as of any
 * other damage. So nobody takes what was never sealed for an object of the volume either.
 *
 * Each sealing draws a new salt. An object that is put again has other bytes than before; whoever
 * compares it with what is there sees both opened.
 *
 * @module
 */

import type {
  ByteRange,
  ListedObject,
  Store,
  StoredObject,
  StoreTerms,
  Version,
} from "../../store/store.ts";
import { assert } from "../../uapi/error.ts";
import { CHUNK_HEADER_BYTES, tableBytesOf } from "../format/chunk.ts";
import { clearBytesOfManifest } from "../format/manifest.ts";
import {
  Fields,
  FormatError,
  hasRightSum,
  isSealedRecord,
  markSealed,
  unopenedRecord,
} from "../format/record.ts";
import { RUN_CLEAR_BYTES } from "../format/run.ts";
import { sumOf } from "../format/sum.ts";
import { isVolumeName, numberOf, ObjectNames } from "../names.ts";
import { areSound } from "../read/sound.ts";
import { openBlocks, openTable, sealedChunk, type SealedTable } from "./chunks.ts";
import { openedRecord, sealedRecord } from "./records.ts";
import type { VolumeKey } from "./volume_key.ts";

/** Tables of chunks that are kept for reads of ranges. */
const TABLES = 8;
/** Bytes of a chunk that are read first: most tables are in them. */
const FIRST_BYTES = 32768;

/** An object that is sealed. */
interface Kind {
  readonly number: number;
  /** How many bytes of it stand in the clear; undefined for a chunk. */
  readonly clearOf: ((bytes: Uint8Array<ArrayBuffer>) => number) | undefined;
}

/** What a name says of its object; undefined for one that is not sealed. */
function kindOf(name: string): Kind | undefined {
  const volume = name.slice(0, name.indexOf("/"));
  if (!isVolumeName(volume)) return undefined;
  const names = new ObjectNames(volume);
  const manifest = numberOf(name, names.manifests);
  if (manifest !== undefined) return { number: manifest, clearOf: clearBytesOfManifest };
  const run = numberOf(name, names.runs);
  if (run !== undefined) return { number: run, clearOf: () => RUN_CLEAR_BYTES };
  const chunk = numberOf(name, names.chunks);
  return chunk === undefined ? undefined : { number: chunk, clearOf: undefined };
}

/** A table, and the object that it is of. */
interface KeptTable extends Pick<StoredObject, "version" | "size"> {
  readonly table: SealedTable;
}

/** The store of an encrypted volume, opened. */
export class SealedStore implements Store {
  readonly url: string;
  readonly localPath: Store["localPath"];
  readonly verify: Store["verify"];
  /** The store as it is. */
  readonly inner: Store;
  /** The volume's data key. */
  readonly key: VolumeKey;
  readonly #tables = new Map<string, KeptTable>();

  /** Opens a store, which stays open, for a volume and others with its data key. */
  constructor(inner: Store, key: VolumeKey) {
    this.inner = inner;
    this.url = inner.url;
    this.localPath = inner.localPath?.bind(inner);
    this.verify = inner.verify?.bind(inner);
    this.key = key;
  }

  async get(
    name: string,
    terms?: StoreTerms & { range?: ByteRange },
  ): Promise<StoredObject | undefined> {
    const kind = kindOf(name);
    if (kind === undefined) return await this.inner.get(name, terms);
    const { range } = terms ?? {};
    if (range !== undefined) {
      assert(kind.clearOf === undefined, "only of chunks is a range read");
      return await this.#getRange(name, kind.number, range, terms);
    }
    const found = await this.inner.get(name, terms);
    if (found === undefined) return undefined;
    const { bytes } = found;
    const opened = kind.clearOf === undefined
      ? openedChunk(this.key, bytes, kind.number)
      : openedRecord(this.key, bytes, kind.clearOf(bytes), kind.number);
    return { ...found, bytes: opened ?? unopened(bytes, kind) };
  }

  /** Reads a range of a chunk: the table as a whole, and whole blocks. */
  async #getRange(
    name: string,
    number: number,
    { offset, length, mayEnd }: ByteRange,
    terms: StoreTerms | undefined,
  ): Promise<StoredObject | undefined> {
    const kept = await this.#table(name, number, terms);
    if (kept === undefined) return undefined;
    if (!("table" in kept)) {
      const bytes = unopened(kept.bytes, { number, clearOf: undefined });
      return { ...kept, bytes: bytes.subarray(offset, offset + length) };
    }
    const { table: { bytes: table }, version, size } = kept;
    const end = mayEnd ? Math.min(offset + length, size) : offset + length;
    const bytes = new Uint8Array(Math.max(0, end - offset));
    if (offset < table.length) bytes.set(table.subarray(offset, end));
    if (end > table.length) {
      const blockSize = new Fields(table).u32(64);
      const first = Math.floor(Math.max(0, offset - table.length) / blockSize);
      const from = table.length + first * blockSize;
      const to = table.length + Math.ceil((end - table.length) / blockSize) * blockSize;
      const range = { offset: from, length: to - from };
      const found = await this.inner.get(name, { ...terms, range });
      if (found === undefined) return undefined;
      openSound(found.bytes, blockSize, kept.table, first);
      const start = Math.max(offset, table.length);
      bytes.set(found.bytes.subarray(start - from, end - from), start - offset);
    }
    return { bytes, version, size };
  }

  /** The table of a chunk, opened; the bytes of what does not open. */
  async #table(
    name: string,
    number: number,
    terms: StoreTerms | undefined,
  ): Promise<KeptTable | StoredObject | undefined> {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const range = { offset: 0, length: FIRST_BYTES, mayEnd: true };
    let found = await this.inner.get(name, { ...terms, range });
    if (found === undefined) return undefined;
    const length = tableLength(found.bytes);
    if (length > found.bytes.length && length <= found.size) {
      found = await this.inner.get(name, { ...terms, range: { offset: 0, length } });
      if (found === undefined) return undefined;
    }
    const { version, size } = found;
    const table = openedTable(this.key, found.bytes.slice(0, length), number);
    if (table === undefined) return found;
    if (this.#tables.size === TABLES) this.#tables.delete(this.#tables.keys().next().value!);
    const kept = { table, version, size };
    this.#tables.set(name, kept);
    return kept;
  }

  async putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    return await this.inner.putIfAbsent(name, this.#sealed(name, bytes), terms);
  }

  #sealed(name: string, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const kind = kindOf(name);
    if (kind === undefined) return bytes;
    if (kind.clearOf === undefined) return sealedChunk(this.key, bytes, kind.number);
    return sealedRecord(this.key, bytes, kind.clearOf(bytes), kind.number);
  }

  async replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    assert(kindOf(name) === undefined, "what is sealed is written once");
    return await this.inner.replace(name, bytes, version, terms);
  }

  list(prefix: string, terms?: StoreTerms): AsyncIterable<ListedObject> {
    return this.inner.list(prefix, terms);
  }

  async delete(name: string, terms?: StoreTerms): Promise<void> {
    this.#tables.delete(name);
    await this.inner.delete(name, terms);
  }

  /** Does nothing: whoever opened the store closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** The data key of the volume that a store is opened for; undefined if it is not encrypted. */
export function keyOf(store: Store): VolumeKey | undefined {
  return store instanceof SealedStore ? store.key : undefined;
}

/** The store as it is, with the objects as they lie there. */
export function innerOf(store: Store): Store {
  return store instanceof SealedStore ? store.inner : store;
}

/** Bytes of which a decoder says that they are damaged, or else that the key does not open them. */
function unopened(bytes: Uint8Array<ArrayBuffer>, { clearOf }: Kind): Uint8Array<ArrayBuffer> {
  const summed = clearOf === undefined ? bytes.subarray(0, tableLength(bytes)) : bytes;
  if (hasRightSum(summed)) return unopenedRecord(bytes);
  const copy = bytes.slice();
  if (isSealedRecord(copy)) markSealed(new Fields(copy), false);
  return copy;
}

function tableLength(bytes: Uint8Array<ArrayBuffer>): number {
  try {
    return tableBytesOf(bytes.subarray(0, CHUNK_HEADER_BYTES));
  } catch (error) {
    if (error instanceof FormatError) return 0;
    throw error;
  }
}

function openedTable(
  key: VolumeKey,
  bytes: Uint8Array<ArrayBuffer>,
  number: number,
): SealedTable | undefined {
  return hasRightSum(bytes) && isSealedRecord(bytes) ? openTable(key, bytes, number) : undefined;
}

/** A whole chunk, opened. */
function openedChunk(
  key: VolumeKey,
  bytes: Uint8Array<ArrayBuffer>,
  number: number,
): Uint8Array<ArrayBuffer> | undefined {
  const table = openedTable(key, bytes.slice(0, tableLength(bytes)), number);
  if (table === undefined) return undefined;
  const chunk = bytes.slice();
  chunk.set(table.bytes);
  const fields = new Fields(chunk);
  const blockSize = fields.u32(64);
  // Somebody may have cut it: whoever reads it sees the length.
  const blocks = Math.min(
    fields.u32(72),
    Math.floor((chunk.length - table.bytes.length) / blockSize),
  );
  const end = table.bytes.length + blocks * blockSize;
  openSound(chunk.subarray(table.bytes.length, end), blockSize, table, 0);
  return chunk;
}

/** Opens blocks in place. Those that do not open become what their sum in the table is not of. */
function openSound(
  data: Uint8Array<ArrayBuffer>,
  blockSize: number,
  { sums, innerSums, seals }: SealedTable,
  first: number,
): void {
  for (let at = 0, nth = first; at < data.length; at += blockSize, nth++) {
    const end = at + blockSize;
    const isSound = nth < sums.length && areSound(data, at, end, blockSize, sums, nth);
    if (isSound && openBlocks(seals, data, at, end, blockSize, nth)) continue;
    data.fill(0, at, end);
    if (sumOf(data.subarray(at, end)) === innerSums[nth]) data[at] = 1;
  }
}
