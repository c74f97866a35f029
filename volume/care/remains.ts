/**
 * Everything that the objects of a volume still say when its map cannot be read.
 *
 * @module
 */

import { type Store, type StoredObject, StoreError, type Version } from "../../store/store.ts";
import { isUblkError } from "../../uapi/error.ts";
import { catalogOf, readCatalog } from "../catalog.ts";
import { damaged, notFound, readAnyHead, type VersionedHead } from "../state.ts";
import type { Catalog } from "../format/catalog.ts";
import {
  CHUNK_HEADER_BYTES,
  type ChunkTable,
  decodeChunkTable,
  tableBytesOf,
} from "../format/chunk.ts";
import { decodeManifest, type Manifest } from "../format/manifest.ts";
import {
  Fields,
  FormatError,
  RECORD_BYTES,
  sealRecord,
  sumOfObject,
  volumeOfRecord,
} from "../format/record.ts";
import { numberOf, type ObjectNames } from "../names.ts";

/** Bytes of a chunk that are read first: most tables are in them. */
const TABLE_BYTES = 16384;

/** The remains of a volume. */
export interface Remains {
  /** The volume's UUID. */
  readonly volume: string;
  /** The head; undefined if it is missing or damaged. */
  readonly head: VersionedHead | undefined;
  /** The version of a head that is damaged. */
  readonly damagedHead: Version | undefined;
  /** Its catalog; undefined if that is damaged. */
  readonly catalog: Catalog | undefined;
  /** The manifests that can be read. */
  readonly manifests: readonly (Manifest & { readonly sum: number })[];
  /** The greatest numbers of all objects of a kind, whoever wrote them. */
  readonly greatest: {
    readonly manifest: number;
    readonly run: number;
    readonly chunk: number;
  };
  /** The chunks in the store, by number, with their lengths. */
  readonly chunks: ReadonlyMap<number, number>;
}

/** Reads head, catalog and manifests. @throws {UblkError} `VOLUME_NOT_FOUND` */
export async function remainsOf(store: Store, names: ObjectNames): Promise<Remains> {
  const head = await unlessDamaged(() => readAnyHead(store, names));
  // There is no volume, and the objects of one that was to be are nobody's.
  if (head?.head.beingMade || head?.head.beingRemoved) throw notFound(store, names.volume);
  const damagedHead = head === undefined ? await damagedVersion(store, names) : undefined;
  const found = await unlessDamaged(() => readCatalog(store, names), null);
  const runs = await numbersOf(store, names.runs);
  const chunks = await numbersOf(store, names.chunks);
  const numbers = await numbersOf(store, names.manifests);
  const all: (Manifest & { sum: number })[] = [];
  for (const number of [...numbers.keys()].sort((left, right) => left - right)) {
    const object = await readable(() => store.get(names.manifest(number)));
    const manifest = object && unlessFormat(() => decodeManifest(object.bytes));
    // One that is whole, but under a wrong name, says nothing.
    if (manifest?.number === number) all.push(manifest);
  }
  let volume = head?.head.volume;
  if (found?.catalog.removed !== undefined) {
    // Whoever removes a volume deletes its head first. The next one of the name is another volume.
    volume ??= all.findLast((one) => one.volume !== found.catalog.volume)?.volume;
  } else {
    volume ??= found?.catalog.volume ?? all.at(-1)?.volume ??
      await volumeOfChunks(store, names, chunks);
  }
  if (volume === undefined) throw notFound(store, names.volume);
  return {
    ...{ volume, head, damagedHead, chunks },
    catalog: found === null ? undefined : await catalogOf(store, names, volume),
    manifests: all.filter((manifest) => manifest.volume === volume),
    greatest: {
      manifest: greatestOf(numbers),
      run: greatestOf(runs),
      chunk: greatestOf(chunks),
    },
  };
}

/**
 * The version of a head that cannot be read.
 *
 * @throws {UblkError} `VOLUME_DAMAGED` if it is whole, and of a newer format.
 */
async function damagedVersion(store: Store, names: ObjectNames): Promise<Version | undefined> {
  const found = await readable(() => store.get(names.head));
  if (found === undefined) return undefined;
  const { bytes, version } = found;
  if (bytes.length >= RECORD_BYTES) {
    const fields = new Fields(bytes.slice());
    const sum = sumOfObject(bytes);
    if (fields.u32(8) > 1 && sealRecord(fields) === sum) {
      throw damaged(store, names.head, "is of a newer format: use a newer version of ublk");
    }
  }
  return version;
}

function greatestOf(numbers: ReadonlyMap<number, number>): number {
  let greatest = 0;
  for (const number of numbers.keys()) greatest = Math.max(greatest, number);
  return greatest;
}

/** The numbers of the objects whose names begin so, and their lengths. */
async function numbersOf(store: Store, prefix: string): Promise<Map<number, number>> {
  const found = new Map<number, number>();
  for await (const { name, size } of store.list(prefix)) {
    const number = numberOf(name, prefix);
    if (number !== undefined) found.set(number, size);
  }
  return found;
}

/** The volume that the newest readable chunk is of: a removed one of the name had lower numbers. */
async function volumeOfChunks(
  store: Store,
  names: ObjectNames,
  chunks: ReadonlyMap<number, number>,
): Promise<string | undefined> {
  for (const number of [...chunks.keys()].sort((left, right) => right - left)) {
    const bytes = (await readable(() => store.get(names.chunk(number))))?.bytes;
    if (bytes === undefined) continue;
    const volume = unlessFormat(() => {
      const tableBytes = tableBytesOf(bytes.subarray(0, CHUNK_HEADER_BYTES));
      const own = volumeOfRecord(new Fields(bytes));
      decodeChunkTable(bytes.subarray(0, tableBytes), own, number);
      return own;
    });
    if (volume !== undefined) return volume;
  }
  return undefined;
}

/** A chunk's table, and whether the object has as many bytes as that says. */
export interface FoundTable extends ChunkTable {
  /** It has. */
  readonly isWhole: boolean;
}

/**
 * Reads the table of a chunk.
 *
 * @returns Undefined if it is missing, damaged, or another volume's.
 */
export async function readTable(
  store: Store,
  names: ObjectNames,
  volume: string,
  number: number,
): Promise<FoundTable | undefined> {
  const name = names.chunk(number);
  const range = (length: number) => ({ range: { offset: 0, length, mayEnd: true } });
  const found = await readable(() => store.get(name, range(TABLE_BYTES)));
  if (found === undefined) return undefined;
  let bytes: Uint8Array<ArrayBuffer> | undefined = found.bytes;
  const front = bytes.subarray(0, CHUNK_HEADER_BYTES);
  const length = unlessFormat(() => tableBytesOf(front));
  if (length === undefined) return undefined;
  if (length > bytes.length) bytes = (await readable(() => store.get(name, range(length))))?.bytes;
  const whole = bytes?.subarray(0, length);
  const table = whole && unlessFormat(() => decodeChunkTable(whole, volume, number));
  return table && { ...table, isWhole: found.size === table.length };
}

async function readable(
  get: () => Promise<StoredObject | undefined>,
): Promise<StoredObject | undefined> {
  try {
    return await get();
  } catch (error) {
    if (error instanceof StoreError && error.fault === "corrupt") return undefined;
    throw error;
  }
}

function unlessFormat<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

async function unlessDamaged<T, N = undefined>(
  read: () => Promise<T>,
  otherwise?: N,
): Promise<T | N> {
  try {
    return await read();
  } catch (error) {
    const isDamage = isUblkError(error) && error.code === "VOLUME_DAMAGED" ||
      error instanceof StoreError && error.fault === "corrupt";
    if (!isDamage) throw error;
    return otherwise as N;
  }
}
