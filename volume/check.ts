/**
 * Checks a volume: reads every object that counts, verifies every sum, and compares what they say of
 * one another. Changes nothing but the catalog, which keeps what is read meanwhile.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { type Store, StoreError } from "../store/store.ts";
import { isUblkError, type UblkError } from "../uapi/error.ts";
import { enterRun } from "./attach.ts";
import { readCatalog } from "./catalog.ts";
import { checkChunk, checkFrames } from "./check_chunk.ts";
import { checkJournal } from "./check_journal.ts";
import { type ManifestName, notFound, readHead, readManifest } from "./state.ts";
import type { Counts, Finding } from "./findings.ts";
import type { CatalogEntry } from "./format/catalog.ts";
import type { ChunkTable } from "./format/chunk.ts";
import type { Head } from "./format/head.ts";
import type { Manifest } from "./format/manifest.ts";
import { chunkOf, HOLE } from "./format/place.ts";
import { FormatError } from "./format/record.ts";
import { decodeRun, type Extents } from "./format/run.ts";
import { BlockMap } from "./map/block_map.ts";
import { Maps } from "./maps.ts";
import { ObjectNames } from "./names.ts";
import { ownerOfChunk, ownerOfRun } from "./owners.ts";
import { keyOf } from "./opened_store.ts";
import type { Seam } from "./seam.ts";
import { type KeptState, keptState } from "./snapshots.ts";
import { type StoreLike, storeOf } from "./store_like.ts";

/** The outcome of a check. */
export interface CheckReport {
  /** Everything that is wrong; empty for a sound volume. */
  readonly findings: readonly Finding[];
  /** Everything was read that could be: false if damage hides what else there is. */
  readonly isComplete: boolean;
  /** Objects that were read. */
  readonly objects: number;
  /** Bytes that were read. */
  readonly bytes: number;
  /** Blocks of data whose sums were verified. */
  readonly blocks: number;
  /** Objects that nothing names: of older states, or of writers that were fenced. No fault. */
  readonly unnamed: number;
  /** Bytes of these. */
  readonly unnamedBytes: number;
  /** Batches of the journal that the store does not have; undefined if it was not read. */
  readonly batches: number | undefined;
}

/** Options of {@linkcode checkVolume}. */
export interface CheckOptions {
  /**
   * The folder of journals, to check the volume's there as well.
   *
   * @default The journal is not checked
   */
  readonly journal?: string;
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

/**
 * Checks a volume.
 *
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if the journal is to be checked and in use.
 * @throws {StoreError} If the store cannot be read at all.
 */
export async function checkVolume(
  store: StoreLike,
  name: string,
  options: CheckOptions = {},
): Promise<CheckReport> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  return await new Check(opened, new ObjectNames(name), options).run();
}

class Check {
  readonly #store: Store;
  readonly #names: ObjectNames;
  readonly #options: CheckOptions;
  readonly #counts: Counts = { findings: [], objects: 0, bytes: 0, blocks: 0 };
  /** Names of objects that count. */
  readonly #named = new Set<string>();
  /** Names of objects that should be there, and are not. */
  readonly #missing = new Set<string>();
  /** The tables of chunks that were read, by the chunks' names; undefined for those that cannot be. */
  readonly #tables = new Map<string, ChunkTable | undefined>();
  #total = 2;
  #isComplete = true;
  #batches: number | undefined = undefined;

  constructor(store: Store, names: ObjectNames, options: CheckOptions) {
    this.#store = store;
    this.#names = names;
    this.#options = options;
  }

  async run(): Promise<CheckReport> {
    const kept = await this.#keep();
    try {
      return await this.#run(kept);
    } finally {
      await kept?.release();
    }
  }

  /** Keeps the state that is checked, as far as it can be read: somebody may have it attached. */
  async #keep(): Promise<KeptState | undefined> {
    const { seam } = this.#options;
    try {
      return await keptState(this.#store, { volume: this.#names.volume }, "a check", seam);
    } catch (error) {
      if (error instanceof StoreError || isDamage(error)) return undefined;
      throw error;
    }
  }

  async #run(kept: KeptState | undefined): Promise<CheckReport> {
    const state = await this.#state(kept);
    let [unnamed, unnamedBytes] = [0, 0];
    if (state === undefined) this.#isComplete = false;
    else {
      const maps = await this.#maps(state.manifest);
      await this.#chunks(state.manifest, maps);
      if (this.#isComplete) this.#journal(state.head, state.manifest, maps);
      await this.#kept(state.manifest);
      for await (const { name, size } of this.#store.list(`${this.#names.volume}/`)) {
        if (this.#named.has(name)) continue;
        unnamed++;
        unnamedBytes += size;
      }
    }
    return {
      ...this.#counts,
      ...{ isComplete: this.#isComplete, unnamed, unnamedBytes, batches: this.#batches },
    };
  }

  /** The head and the manifest; undefined if they do not say what the volume is. */
  async #state(
    kept: KeptState | undefined,
  ): Promise<{ head: Head; manifest: Manifest } | undefined> {
    const names = this.#names;
    this.#named.add(names.head);
    if (kept?.head.encrypted) this.#named.add(names.key(kept.head.volume));
    if (kept !== undefined) {
      this.#done(0);
      this.#named.add(names.manifest(kept.head.manifest));
      this.#done(0);
      return kept;
    }
    const found = await this.#damageOf(() => readHead(this.#store, names));
    if (found === undefined) {
      if (this.#counts.findings.length > 0) return undefined;
      throw notFound(this.#store, names.volume);
    }
    this.#done(0);
    const { head } = found;
    if (head.encrypted) this.#named.add(names.key(head.volume));
    this.#named.add(names.manifest(head.manifest));
    const manifest = await this.#damageOf(() => readManifest(this.#store, names, head));
    if (manifest === undefined) return undefined;
    this.#done(0);
    return { head, manifest };
  }

  /** Checks what snapshots, clones and readers need besides a state. */
  async #kept({ volume, number }: Manifest): Promise<void> {
    const names = this.#names;
    const found = await this.#damageOf(() => readCatalog(this.#store, names));
    if (found === undefined) return;
    this.#named.add(names.catalog);
    this.#total++;
    this.#done(0);
    // A removed volume of this name has left it.
    if (found.catalog.volume !== volume) return;
    const roots = new Map(found.catalog.entries.map((entry) => [entry.manifest, entry]));
    roots.delete(number);
    this.#total += roots.size;
    for (const root of roots.values()) {
      const before = { findings: this.#counts.findings.length, isComplete: this.#isComplete };
      await this.#root({ ...root, volume });
      const isGone = this.#counts.findings.length > before.findings &&
        await this.#isNamedNoMore(root, volume);
      if (!isGone) continue;
      this.#forget(before.findings, names.manifest(root.manifest));
      this.#isComplete = before.isComplete;
    }
  }

  async #root(root: ManifestName): Promise<void> {
    const names = this.#names;
    this.#named.add(names.manifest(root.manifest));
    const manifest = await this.#damageOf(() => readManifest(this.#store, names, root));
    if (manifest === undefined) {
      this.#isComplete = false;
      return;
    }
    this.#done(0);
    await this.#chunks(manifest, await this.#maps(manifest));
  }

  /**
   * Whether nobody keeps a manifest any more. A check takes hours, and whoever serves the volume collects
   * what a snapshot has needed that is removed meanwhile: that was once called damage.
   */
  async #isNamedNoMore({ manifest: number }: CatalogEntry, volume: string): Promise<boolean> {
    const now = await this.#damageOf(() => readCatalog(this.#store, this.#names));
    return now !== undefined &&
      (now.catalog.volume !== volume ||
        now.catalog.entries.every((one) => one.manifest !== number));
  }

  /** Forgets the latest findings, from the nth on, as far as they are of a manifest or of what is missing. */
  #forget(nth: number, manifest: string): void {
    const { findings } = this.#counts;
    for (const finding of findings.splice(nth)) {
      const { object } = finding;
      if (object !== manifest && !this.#missing.has(object)) findings.push(finding);
      // Another entry may need it.
      else if (this.#tables.get(object) === undefined) this.#tables.delete(object);
    }
  }

  /** Reads the block map, as far as it can be read. */
  async #maps(manifest: Manifest): Promise<Maps> {
    const blocks = manifest.size / manifest.blockSize;
    const maps = new Maps(blocks, manifest.blockSize);
    this.#total += manifest.runs.length;
    for (const { number, entries, bytes: length, sum } of manifest.runs) {
      const owner = ownerOfRun(this.#names, manifest, number);
      const name = owner.names.run(number);
      const bytes = await this.#get(name);
      if (bytes === undefined) {
        this.#isComplete = false;
        continue;
      }
      try {
        // A run that is whole, but not this one, is not what the manifest names.
        const extents = decodeRun(bytes, owner.volume, number);
        const isIt = extents.length === entries && bytes.length === length &&
          new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true) === sum;
        if (!isIt) throw new FormatError("it is not the one that the manifest names");
        this.#checkRun(name, extents, manifest, maps);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        this.#found({ object: name, words: error.message });
        this.#isComplete = false;
      }
      this.#done(bytes.length);
    }
    if (maps.blocks === blocks) return maps;
    // A missing run may have made holes.
    if (this.#isComplete && maps.knowsFrom(blocks)) {
      const object = this.#names.manifest(manifest.number);
      this.#found({ object, words: `its runs map blocks from ${blocks} on, where the disk ends` });
    }
    maps.resize(blocks);
    return maps;
  }

  #checkRun(name: string, extents: Extents, manifest: Manifest, maps: Maps): void {
    for (let nth = 0; nth < extents.length; nth++) {
      const end = extents.blocks[nth] + extents.counts[nth];
      // The disk may have become smaller since; newer runs have made that part a hole.
      if (end > maps.blocks) maps.resize(end);
      const place = extents.places[nth];
      if (place === HOLE || chunkOf(place) < manifest.nextChunk) continue;
      this.#found({
        object: name,
        words: `block ${extents.blocks[nth]} is said to be in chunk ${chunkOf(place)}, ` +
          `and there are none from ${manifest.nextChunk} on`,
      });
    }
    enterRun(maps, extents);
  }

  /** Reads every chunk that the map names, and compares the map with them. */
  async #chunks(manifest: Manifest, maps: Maps): Promise<void> {
    const { blockSize } = manifest;
    const chunks = new Set<number>();
    for (const cursor = maps.chunks.cursor(); cursor.next();) chunks.add(chunkOf(cursor.place));
    /** Blocks of the disk that are where the map says. */
    const right = new BlockMap({ blocks: maps.blocks, step: 0 });
    const owned = [...chunks].sort((left, right) => left - right).map((number) => {
      const { names, volume } = ownerOfChunk(this.#names, manifest, number);
      return { number, volume, object: names.chunk(number) };
    });
    for (const { object } of owned) if (!this.#tables.has(object)) this.#total++;
    for (const { number, volume, object } of owned) {
      if (!this.#tables.has(object)) {
        const bytes = await this.#get(object);
        const parts = { object, number, volume, blockSize, counts: this.#counts };
        this.#tables.set(object, bytes && checkChunk({ ...parts, bytes }));
        if (bytes !== undefined) this.#done(bytes.length);
      }
      const table = this.#tables.get(object);
      if (table === undefined) continue;
      checkFrames({ object, number, map: maps.chunks, right, counts: this.#counts }, table);
    }
    this.#checkMap(manifest, maps.chunks, right);
  }

  /** Names what the map says of chunks and they do not hold. */
  #checkMap(manifest: Manifest, map: BlockMap, right: BlockMap): void {
    if (map.mappedBlocks === right.mappedBlocks) return;
    const told = new Set(this.#counts.findings.map(({ object }) => object));
    for (const cursor = map.cursor(); cursor.next();) {
      const { block, count, place } = cursor;
      const object = ownerOfChunk(this.#names, manifest, chunkOf(place)).names.chunk(
        chunkOf(place),
      );
      // A chunk that cannot be read holds nothing: that has been said.
      if (told.has(object)) continue;
      for (let at = block; at < block + count;) {
        const length = right.find(at, block + count - at);
        if (right.place < 0) {
          const words = `the map says that it holds ${length} blocks from block ${at} on, ` +
            "and its table does not";
          this.#found({ object, words });
        }
        at += length;
      }
    }
  }

  #journal(head: Head, manifest: Manifest, maps: Maps): void {
    const { journal, files = realFiles } = this.#options;
    if (journal === undefined) return;
    const folder = `${journal}/${this.#names.volume}`;
    const key = keyOf(this.#store);
    this.#batches = checkJournal({
      folder,
      files,
      head,
      manifest,
      maps,
      counts: this.#counts,
      key,
    });
  }

  /** Reads an object that must be there. */
  async #get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.#named.add(name);
    try {
      const found = await this.#store.get(name);
      if (found === undefined) {
        this.#missing.add(name);
        this.#found({ object: name, words: "it is missing" });
      }
      return found?.bytes;
    } catch (error) {
      if (!(error instanceof StoreError) || error.fault !== "corrupt") throw error;
      this.#found({ object: name, words: error.message });
      return undefined;
    }
  }

  /** Makes damage a finding. */
  async #damageOf<T>(read: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!isDamage(error)) throw error;
      const object = error.operation.replace(`${this.#store.url} `, "");
      this.#found({ object, words: error.reason ?? error.message });
      return undefined;
    }
  }

  #found(finding: Finding): void {
    this.#counts.findings.push(finding);
  }

  #done(bytes: number): void {
    this.#counts.objects++;
    this.#counts.bytes += bytes;
    this.#options.onProgress?.(this.#counts.objects, this.#total);
  }
}

function isDamage(error: unknown): error is UblkError {
  return isUblkError(error) && error.code === "VOLUME_DAMAGED";
}
