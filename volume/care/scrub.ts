/**
 * Reads and verifies all that a volume and its snapshots need, and mends chunks from the copies that
 * this machine has.
 *
 * An object is put back with the bytes that it had: its table, which has a sum, says the sum of each
 * block. So nobody needs to be asked, neither a server of the volume nor a reader: for them the damage
 * has just gone. That holds for the bytes as they lie there: data from the journal is compressed and
 * sealed as it was, a piece as a whole. Where zstd makes other bytes of it now, it is not mended.
 *
 * @module
 */

import type { Files } from "../../files/port.ts";
import { realFiles } from "../../files/real.ts";
import { type Store, type StoredObject, StoreError } from "../../store/store.ts";
import { loadMaps } from "../attach.ts";
import { catalogOf } from "../catalog.ts";
import { type CheckReport, checkVolume } from "../check.ts";
import { checkFrames } from "../check_chunk.ts";
import { areEqual, stateOf } from "../state.ts";
import { CHUNK_HEADER_BYTES, tableBytesOf } from "../format/chunk.ts";
import { chunkOf } from "../format/place.ts";
import { FormatError } from "../format/record.ts";
import { sumOf } from "../format/sum.ts";
import { BlockMap } from "../map/block_map.ts";
import { numberOf, ObjectNames } from "../names.ts";
import { isPieceSound, pieceAsItLay, pieceLength, storedBytes } from "../pack/chunks.ts";
import { decodeAnyTable, type OpenedTable } from "../pack/any_table.ts";
import { blockAsItLay } from "../seal/chunks.ts";
import { innerOf, keyOf } from "../opened_store.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import { MACHINE, type Seam } from "../seam.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import { type BatchBlock, blocksInJournal, CachedLines } from "./local_copies.ts";
import { PacedStore } from "./paced_store.ts";

/** Chunks that are mended at a time: each is in memory. */
const AT_ONCE = 8;

/** Options of {@linkcode scrubVolume}. */
export interface ScrubOptions {
  /**
   * The folder of journals. Chunks are mended from the volume's journal there.
   *
   * @default None
   */
  readonly journal?: string;
  /**
   * The folder of caches. Chunks are mended from the volume's cache there.
   *
   * @default The folder of journals
   */
  readonly cacheDir?: string;
  /**
   * The most bytes to read from the store in a second.
   *
   * @default {Infinity}
   */
  readonly bandwidth?: number;
  /**
   * Called after each object with the objects that are done, and that there are as far as is known.
   *
   * @default Nobody is told
   */
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * The files of this machine, for tests.
   *
   * @default The kernel's
   */
  readonly files?: Files;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/** The outcome of a scrub. */
export interface ScrubReport extends CheckReport {
  /** The names of the objects that were damaged, and are whole again. They are no findings. */
  readonly mended: readonly string[];
}

/**
 * Reads every object that a volume and its snapshots need, attached or not, and mends damaged and
 * missing chunks if this machine's journal and cache have what they lack. Of an encrypted volume, the
 * store is to be opened with its key (`unlocked`).
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`
 * @throws {StoreError} If the store cannot be read, or not be written to.
 */
export async function scrubVolume(
  store: StoreLike,
  name: string,
  options: ScrubOptions = {},
): Promise<ScrubReport> {
  const { bandwidth, onProgress, seam = MACHINE } = options;
  await using stack = new AsyncDisposableStack();
  const given = await storeOf(store, stack);
  const opened = new PacedStore(given, bandwidth, seam);
  const report = await checkVolume(opened, name, { onProgress, seam });
  const names = new ObjectNames(name);
  const damaged = [...new Set(report.findings.map(({ object }) => object))].flatMap((object) =>
    numberOf(object, names.chunks) ?? []
  );
  const parts = {
    ...{ store: opened, names, options, key: keyOf(given) },
    stored: new PacedStore(innerOf(given), bandwidth, seam),
  };
  const mended = damaged.length === 0 ? [] : await new Mending(parts).run(damaged);
  const findings = report.findings.filter(({ object }) => !mended.includes(object));
  return { ...report, findings, mended };
}

/** A chunk that is being mended. */
interface Patient {
  readonly object: string;
  /** The object as it is; undefined if it is missing. */
  readonly found: StoredObject | undefined;
  readonly table: OpenedTable;
  /** As it is to be. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The blocks of data that are not right yet: the place in the chunk by the block of the disk. */
  readonly lacks: Map<number, number>;
  /** The data of pieces of a compressed chunk, as far as it has been found. */
  readonly pieces: Map<number, Uint8Array<ArrayBuffer>>;
}

interface MendingParts {
  /** The volume's store. */
  readonly store: Store;
  /** The same, with the objects as they lie there. */
  readonly stored: Store;
  readonly names: ObjectNames;
  readonly key: VolumeKey | undefined;
  readonly options: ScrubOptions;
}

class Mending {
  readonly #parts: MendingParts;

  constructor(parts: MendingParts) {
    this.#parts = parts;
  }

  async run(chunks: readonly number[]): Promise<string[]> {
    const { store, names, key, options } = this.#parts;
    const { journal, cacheDir = journal, files = realFiles } = options;
    if (cacheDir === undefined) return [];
    const { volume: name } = names;
    const { head, manifest } = await stateOf(store, names);
    const { copy } = await catalogOf(store, names, head.volume);
    using cache = CachedLines.open(files, `${cacheDir}/${name}/cache`, head, copy);
    const { chunks: map } = await loadMaps({ store, names, manifest });
    const mended: string[] = [];
    for (let at = 0; at < chunks.length; at += AT_ONCE) {
      const patients: Patient[] = [];
      for (const chunk of chunks.slice(at, at + AT_ONCE)) {
        const patient = await this.#patient(chunk, head.volume, cache, map);
        if (patient !== undefined) patients.push(patient);
      }
      if (journal !== undefined && patients.some(({ lacks }) => lacks.size > 0)) {
        const blocks = blocksInJournal(files, `${journal}/${name}`, head.volume, key);
        for (const block of blocks) fillFrom(block, patients);
      }
      for (const patient of patients) {
        if (patient.lacks.size === 0 && await this.#put(patient)) mended.push(patient.object);
      }
    }
    return mended;
  }

  /** A chunk with what the store and the cache have of it; undefined if its table is lost. */
  async #patient(
    chunk: number,
    volume: string,
    cache: CachedLines | undefined,
    map: BlockMap,
  ): Promise<Patient | undefined> {
    const { stored, names, key } = this.#parts;
    const object = names.chunk(chunk);
    let found: StoredObject | undefined;
    try {
      found = await stored.get(object);
    } catch (error) {
      // Without its version it could not be replaced.
      if (error instanceof StoreError && error.fault === "corrupt") return undefined;
      throw error;
    }
    let head = found?.bytes ?? new Uint8Array();
    let table = tableIn(head, volume, chunk, key);
    if (table === undefined) {
      const front = cache?.table(chunk, CHUNK_HEADER_BYTES);
      const length = front && lengthOf(front);
      head = length === undefined ? head : cache?.table(chunk, length) ?? head;
      table = tableIn(head, volume, chunk, key);
      // A cache is not asked what is in a chunk without a second witness.
      if (table === undefined || !agrees(table, object, map)) return undefined;
    }
    const bytes = new Uint8Array(table.length);
    bytes.set(head.subarray(0, table.dataAt));
    const damaged = new Set<number>();
    for (const { nth, at, length } of unitsOf(table)) {
      const right = [
        found?.bytes.subarray(at, at + length),
        table.pieces === undefined
          ? cache?.block(chunk, nth, length, table.piece || undefined)
          : cache?.piece(chunk, nth, length),
      ].find((data) => data?.length === length && isSound(table, nth, data));
      if (right === undefined) damaged.add(nth);
      else bytes.set(right, at);
    }
    const lacks = new Map<number, number>();
    for (const [nth, block] of blocksOf(table)) {
      if (damaged.has(unitOf(table, nth))) lacks.set(block, nth);
    }
    const pieces = new Map<number, Uint8Array<ArrayBuffer>>();
    return { object, found, table, bytes, lacks, pieces };
  }

  /** Puts a chunk back. @returns Whether the store has it now. */
  async #put({ object, found, bytes }: Patient): Promise<boolean> {
    const { stored } = this.#parts;
    if (found === undefined) await stored.putIfAbsent(object, bytes);
    else await stored.replace(object, bytes, found.version);
    const now = await stored.get(object);
    return now !== undefined && areEqual(now.bytes, bytes);
  }
}

function lengthOf(front: Uint8Array<ArrayBuffer>): number | undefined {
  try {
    return tableBytesOf(front);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function tableIn(
  bytes: Uint8Array<ArrayBuffer>,
  volume: string,
  chunk: number,
  key: VolumeKey | undefined,
): OpenedTable | undefined {
  try {
    const length = tableBytesOf(bytes.subarray(0, CHUNK_HEADER_BYTES));
    return decodeAnyTable(bytes.slice(0, length), volume, chunk, key);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/** Whether a table has everything that the map says of its chunk, and there is something. */
function agrees(table: OpenedTable, object: string, map: BlockMap): boolean {
  const right = new BlockMap({ blocks: map.blocks, step: 0 });
  const counts = { findings: [], objects: 0, bytes: 0, blocks: 0 };
  checkFrames({ object, number: table.number, map, right, counts }, table);
  let blocks = 0;
  for (const cursor = map.cursor(); cursor.next();) {
    if (chunkOf(cursor.place) === table.number) blocks += cursor.count;
  }
  return blocks > 0 && blocks === right.mappedBlocks && counts.findings.length === 0;
}

/** The blocks of data of a chunk: their places there, and on the disk. */
function* blocksOf({ frames }: OpenedTable): Generator<readonly [nth: number, block: number]> {
  let nth = 0;
  for (const { block, count, hole } of frames) {
    for (let one = 0; one < count && !hole; one++) yield [nth++, block + one];
  }
}

/** The data of a chunk by what is sound as a whole: blocks, or pieces of a compressed chunk. */
function* unitsOf({ dataAt, blockSize, sums, pieces }: OpenedTable) {
  const count = pieces === undefined ? sums.length : pieces.sums.length;
  for (let nth = 0; nth < count; nth++) {
    yield pieces === undefined
      ? { nth, at: dataAt + nth * blockSize, length: blockSize }
      : { nth, at: dataAt + pieces.offsets[nth], length: storedBytes(pieces, nth) };
  }
}

/** The unit that a block is in, by its place. */
function unitOf({ blockSize, pieces }: OpenedTable, nth: number): number {
  return pieces === undefined ? nth : Math.floor(nth * blockSize / pieces.size);
}

function isSound(
  { sums, pieces }: OpenedTable,
  nth: number,
  lay: Uint8Array<ArrayBuffer>,
): boolean {
  return pieces === undefined ? sumOf(lay) === sums[nth] : isPieceSound(pieces, nth, lay);
}

/** Gives chunks a block from a journal, if it is what they lack. */
function fillFrom({ sequence, block, data }: BatchBlock, patients: readonly Patient[]): void {
  for (const patient of patients) {
    const { table, lacks } = patient;
    const nth = lacks.get(block);
    if (nth === undefined || sequence > table.last || data.length !== table.blockSize) continue;
    if (fillUnit(patient, nth, data)) lacks.delete(block);
  }
}

/** @returns Whether the block at a place is not lacking any more. */
function fillUnit(
  { table, bytes, lacks, pieces: found }: Patient,
  nth: number,
  data: Uint8Array<ArrayBuffer>,
): boolean {
  const { dataAt, blockSize, sums, seals, pieces } = table;
  if (pieces === undefined) {
    const lay = seals === undefined ? data : blockAsItLay(seals, nth, data);
    if (lay === undefined || sumOf(lay) !== sums[nth]) return false;
    bytes.set(lay, dataAt + nth * blockSize);
    return true;
  }
  if (sumOf(data) !== sums[nth]) return false;
  const unit = unitOf(table, nth);
  const piece = found.get(unit) ?? new Uint8Array(pieceLength(pieces, unit));
  found.set(unit, piece);
  piece.set(data, nth * blockSize - unit * pieces.size);
  // The last of its blocks: a piece is made as a whole, or not at all.
  for (const other of lacks.values()) {
    if (other !== nth && unitOf(table, other) === unit) return true;
  }
  const lay = pieceAsItLay(pieces, unit, piece);
  if (lay === undefined) return false;
  bytes.set(lay, dataAt + pieces.offsets[unit]);
  return true;
}
