/**
 * A volume's store with its objects in their plain form, whatever lies there: what is put is compressed
 * and sealed, as the object and the volume are, and what is read is opened. So nobody but the engine,
 * whose caches have what lies in the store, knows of either.
 *
 * - A chunk says itself whether it is to be compressed, also in its plain form ({@linkcode ChunkShape}).
 *   Ranges of it can be read as well.
 * - With a key, objects are sealed. A plain chunk has room for that, so one that is not compressed has
 *   its blocks where they were.
 *
 * Whatever does not open is handed on as bytes that no decoder takes, and a block that does not open as
 * others, which its sum in the table tells: whoever reads it says of which object it is, as of any
 * other damage. So nobody takes what was never sealed for an object of an encrypted volume either.
 *
 * Each sealing draws a new salt. An object that is put again has other bytes than before; whoever
 * compares it with what is there sees both opened.
 *
 * @module
 */

import type {
  ByteRange,
  DeleteTerms,
  GetTerms,
  ListedObject,
  Store,
  StoredObject,
  StoreTerms,
  Version,
} from "../store/store.ts";
import { checkRange } from "../store/ranges.ts";
import { assert } from "../uapi/error.ts";
import { CHUNK_HEADER_BYTES, isPackedChunk, tableBytesOf } from "./format/chunk.ts";
import { clearBytesOfManifest } from "./format/manifest.ts";
import {
  Fields,
  FormatError,
  hasRightSum,
  isSealedRecord,
  markSealed,
  sumAsWrong,
  unopenedRecord,
} from "./format/record.ts";
import { encodeRun, type Extents, RUN_CLEAR_BYTES } from "./format/run.ts";
import { isVolumeName, numberOf, ObjectNames } from "./names.ts";
import { openPackedTable, packedChunk } from "./pack/chunks.ts";
import { type DataUnits, PieceUnits, SealedUnits } from "./pack/units.ts";
import { openTable, sealedChunk } from "./seal/chunks.ts";
import { openedRecord, sealedRecord } from "./seal/records.ts";
import type { VolumeKey } from "./seal/volume_key.ts";

/** Tables of chunks that are kept for reads of ranges. */
const TABLES = 64;
/** Bytes of a chunk that are read first: most tables are in them. */
const FIRST_BYTES = 32768;

/** An object that has another form in the store. */
interface Kind {
  readonly number: number;
  /** How many bytes of it stand in the clear; undefined for a chunk. */
  readonly clearOf: ((bytes: Uint8Array<ArrayBuffer>) => number) | undefined;
}

/** What a name says of its object; undefined for one that is put as it is. */
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

/** A chunk whose table is known; without units it lies there as it is. */
interface KeptTable extends Pick<StoredObject, "version" | "size"> {
  readonly units: DataUnits | undefined;
}

/** A volume's store, opened. */
export class OpenedStore implements Store {
  readonly url: string;
  readonly localPath: Store["localPath"];
  readonly verify: Store["verify"];
  /** The store as it is. */
  readonly inner: Store;
  /** The volume's data key; undefined for one that is not encrypted. */
  readonly key: VolumeKey | undefined;
  readonly #tables = new Map<string, KeptTable>();

  /** Opens a store, which stays open, for a volume and others with its data key. */
  constructor(inner: Store, key?: VolumeKey) {
    this.inner = inner;
    this.url = inner.url;
    this.localPath = inner.localPath?.bind(inner);
    this.verify = inner.verify?.bind(inner);
    this.key = key;
  }

  async get(
    name: string,
    terms?: GetTerms,
  ): Promise<StoredObject | undefined> {
    const kind = kindOf(name);
    if (kind === undefined) return await this.inner.get(name, terms);
    const { key } = this;
    const { range } = terms ?? {};
    if (range !== undefined) {
      if (kind.clearOf === undefined) return await this.#getRange(name, kind, range, terms);
      assert(key === undefined, "of what is sealed as a whole no range is read");
      return await this.inner.get(name, terms);
    }
    const found = await this.inner.get(name, terms);
    if (found === undefined) return undefined;
    const { bytes } = found;
    if (kind.clearOf === undefined) return this.#openedChunk(found, kind);
    if (key === undefined) return found;
    const opened = openedRecord(key, bytes, kind.clearOf(bytes), kind.number);
    return { ...found, bytes: opened ?? this.#unopened(bytes, kind) };
  }

  /** A whole chunk, opened. */
  #openedChunk(found: StoredObject, kind: Kind): StoredObject {
    const { bytes, size } = found;
    const units = this.#unitsOf(bytes, kind);
    if (units === AS_IT_IS) return found;
    if (units === undefined) return { ...found, bytes: this.#unopened(bytes, kind) };
    const chunk = new Uint8Array(units.sizeOf(size));
    // Somebody may have cut it: whoever reads it sees the length.
    chunk.set(units.table.subarray(0, chunk.length));
    units.open(bytes.subarray(units.dataAt), 0, units.count, chunk.subarray(units.table.length));
    return { ...found, bytes: chunk, size: chunk.length };
  }

  /** Reads a range of a chunk: the table as a whole, and what is opened as a whole. */
  async #getRange(
    name: string,
    kind: Kind,
    range: ByteRange,
    terms: StoreTerms | undefined,
  ): Promise<StoredObject | undefined> {
    const kept = await this.#table(name, kind, terms);
    if (kept === undefined) return undefined;
    const { offset, length, mayEnd } = range;
    if (!("units" in kept)) {
      const bytes = this.#unopened(kept.bytes, kind);
      return { ...kept, bytes: bytes.subarray(offset, offset + length) };
    }
    const { units, version, size } = kept;
    if (units === undefined) return await this.inner.get(name, terms);
    const { table } = units;
    // Without an end that may come before, the store says what is missing.
    const end = mayEnd || units.isPacked
      ? offset + checkRange(range, size, `${this.url} ${name}`)
      : offset + length;
    const bytes = new Uint8Array(end - offset);
    if (offset < table.length) bytes.set(table.subarray(offset, end));
    if (end > table.length) {
      const start = Math.max(offset, table.length);
      const first = Math.floor((start - table.length) / units.size);
      const last = Math.ceil((end - table.length) / units.size);
      const from = units.offsetOf(first);
      const wanted = { offset: units.dataAt + from, length: units.offsetOf(last) - from };
      const found = await this.inner.get(name, { ...terms, range: wanted });
      if (found === undefined) return undefined;
      const data = new Uint8Array((last - first) * units.size);
      units.open(found.bytes, first, last, data);
      const at = table.length + first * units.size;
      bytes.set(data.subarray(start - at, end - at), start - offset);
    }
    return { bytes, version, size };
  }

  /** The table of a chunk; the object's first bytes if it does not open. */
  async #table(
    name: string,
    kind: Kind,
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
    const units = this.#unitsOf(found.bytes, kind);
    if (units === undefined) return found;
    const { version } = found;
    if (this.#tables.size === TABLES) this.#tables.delete(this.#tables.keys().next().value!);
    const kept = units === AS_IT_IS
      ? { units: undefined, version, size: found.size }
      : { units, version, size: units.sizeOf(found.size) };
    this.#tables.set(name, kept);
    return kept;
  }

  /** What opens the data of a chunk; undefined if its table does not open. */
  #unitsOf(
    bytes: Uint8Array<ArrayBuffer>,
    { number }: Kind,
  ): DataUnits | typeof AS_IT_IS | undefined {
    const { key } = this;
    const isPacked = isPackedChunk(bytes);
    // Whoever has no key of a sealed chunk is told by its version.
    if (key === undefined && (!isPacked || isSealedRecord(bytes))) return AS_IT_IS;
    const table = bytes.slice(0, tableLength(bytes));
    if (!hasRightSum(table) || key !== undefined && !isSealedRecord(table)) return undefined;
    if (isPacked) {
      const opened = openPackedTable(table, number, key);
      return opened && new PieceUnits(opened);
    }
    const opened = openTable(key!, table, number);
    return opened && new SealedUnits(opened);
  }

  /** Bytes of which a decoder says that they are damaged, or else that the key does not open them. */
  #unopened(bytes: Uint8Array<ArrayBuffer>, { clearOf }: Kind): Uint8Array<ArrayBuffer> {
    const summed = clearOf === undefined ? bytes.subarray(0, tableLength(bytes)) : bytes;
    if (hasRightSum(summed)) {
      return this.key === undefined ? sumAsWrong(bytes) : unopenedRecord(bytes);
    }
    const copy = bytes.slice();
    if (isSealedRecord(copy)) markSealed(new Fields(copy), false);
    return copy;
  }

  async putIfAbsent(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    return await this.inner.putIfAbsent(name, this.stored(name, bytes), terms);
  }

  /** The form in which an object lies in the store. Each call seals anew. */
  stored(name: string, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const { key } = this;
    const kind = kindOf(name);
    if (kind === undefined) return bytes;
    const { number, clearOf } = kind;
    if (clearOf === undefined) {
      return packedChunk(bytes, number, key) ??
        (key === undefined ? bytes : sealedChunk(key, bytes, number));
    }
    return key === undefined ? bytes : sealedRecord(key, bytes, clearOf(bytes), number);
  }

  async replace(
    name: string,
    bytes: Uint8Array<ArrayBuffer>,
    version: Version,
    terms?: StoreTerms,
  ): Promise<Version | undefined> {
    assert(kindOf(name) === undefined, "what has another form is written once");
    return await this.inner.replace(name, bytes, version, terms);
  }

  list(prefix: string, terms?: StoreTerms): AsyncIterable<ListedObject> {
    return this.inner.list(prefix, terms);
  }

  async delete(name: string, terms?: DeleteTerms): Promise<boolean> {
    this.#tables.delete(name);
    return await this.inner.delete(name, terms);
  }

  /** Does nothing: whoever opened the store closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** A chunk that lies in the store in its plain form. */
const AS_IT_IS = Symbol("as it is");

/** A store with its objects in their plain form, of a volume that is not encrypted or whose key is not known. */
export function openedStore(store: Store): Store {
  return store instanceof OpenedStore ? store : new OpenedStore(store);
}

/** The data key of the volume that a store is opened for; undefined if it is not encrypted. */
export function keyOf(store: Store): VolumeKey | undefined {
  return store instanceof OpenedStore ? store.key : undefined;
}

/** A run for a volume's store, as bytes, and their sum: if it is encrypted, with a blind. */
export function encodeRunFor(
  store: Store,
  volume: string,
  number: number,
  extents: Extents,
): { bytes: Uint8Array<ArrayBuffer>; sum: number } {
  const key = keyOf(store);
  const blindOf = key && ((sum: number) => key.blindOf(volume, number, sum));
  return encodeRun(volume, number, extents, blindOf);
}

/** The store as it is, with the objects as they lie there. */
export function innerOf(store: Store): Store {
  return store instanceof OpenedStore ? store.inner : store;
}

/** The form in which an object lies in a store. Each call seals anew. */
export function storedForm(
  store: Store,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return store instanceof OpenedStore ? store.stored(name, bytes) : bytes;
}

function tableLength(bytes: Uint8Array<ArrayBuffer>): number {
  try {
    return tableBytesOf(bytes.subarray(0, CHUNK_HEADER_BYTES));
  } catch (error) {
    if (error instanceof FormatError) return 0;
    throw error;
  }
}
