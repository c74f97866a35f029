/**
 * Copies a volume to another store, object by object, in the order in which they are committed:
 *
 * ```
 *   a head that holds the name ─▶ chunks ─▶ runs ─▶ manifests ─▶ catalog ─▶ the head
 * ```
 *
 * There is no volume until the head is there. Objects never change, so an interrupted copy goes on
 * where it was: what is there and equal is not written again. Whoever removes or takes the name
 * meanwhile replaces or deletes the head that holds it: then the last step fails. Without that head,
 * the copy could come to be with some of its objects removed.
 *
 * @module
 */

import type { Store, Version } from "../../store/store.ts";
import { retried } from "../../store/retry.ts";
import { isUblkError, UblkError } from "../../uapi/error.ts";
import { loadMaps } from "../attach.ts";
import { catalogOf, readCatalog } from "../catalog.ts";
import { checkChunk, type ChunkParts } from "../check_chunk.ts";
import { areEqual, damaged, readAnyHead, readManifest, readRun } from "../state.ts";
import type { Counts } from "../findings.ts";
import { isFree, lostName, placeholder, putFirstHead } from "../create.ts";
import { type Catalog, type CatalogEntry, encodeCatalog } from "../format/catalog.ts";
import type { Head } from "../format/head.ts";
import { encodeManifest, type Manifest } from "../format/manifest.ts";
import { chunkOf } from "../format/place.ts";
import { NO_UUID, sumOfObject } from "../format/record.ts";
import { ObjectNames, referenceOf, type VolumeReference } from "../names.ts";
import { ownerOfChunk, ownerOfRun } from "../owners.ts";
import { innerOf, keyOf, OpenedStore } from "../opened_store.ts";
import { MACHINE, type Seam } from "../seam.ts";
import { type KeptState, keptState, unkeptWords } from "../snapshots.ts";
import { type StoreLike, storeOf } from "../store_like.ts";
import type { TransferProgress } from "../transfer.ts";
import { PacedStore } from "./paced_store.ts";

/** Objects on their way at a time. */
const AT_ONCE = 4;
const NOTHING = new Uint8Array();
/** How long a store that fails is asked again, in milliseconds. */
const PATIENCE_MS = 30_000;

/** Options of {@linkcode copyVolume}. */
export interface CopyOptions {
  /**
   * The name of the copy.
   *
   * @default The same
   */
  readonly as?: string;
  /**
   * The most bytes to read in a second.
   *
   * @default {Infinity}
   */
  readonly bandwidth?: number;
  /**
   * Called after each object.
   *
   * @default Nobody is told
   */
  readonly onProgress?: (progress: TransferProgress) => void;
  /**
   * Takes a line that a person should read.
   *
   * @default It is dropped
   */
  readonly report?: (line: string) => void;
  /**
   * Time and randomness, for tests.
   *
   * @default The machine's
   */
  readonly seam?: Seam;
}

/**
 * Copies a volume with its snapshots, or one snapshot as a volume. Each object is verified before it is
 * written, and read back. The copy of a clone has everything that the clone shares. Of an encrypted
 * volume, the store is to be opened with its key (`unlocked`); the copy is sealed anew, with the same
 * keys.
 *
 * The copy has the UUID of the volume. From then on each goes its own way.
 *
 * @param name `NAME`, which must not be attached, or `NAME@SNAPSHOT`.
 * @param to The other store. A URL's folder is made if it is missing.
 * @returns How many bytes of objects there are, and how many were written.
 * @throws {UblkError} `VOLUME_NOT_FOUND`, `VOLUME_DAMAGED`; `VOLUME_BUSY` if it is attached;
 *   `VOLUME_EXISTS` if the other store has something else of that name; `VOLUME_FENCED` if somebody has
 *   removed or taken the name meanwhile.
 */
export async function copyVolume(
  store: StoreLike,
  name: string,
  to: StoreLike,
  options: CopyOptions = {},
): Promise<TransferProgress> {
  const { bandwidth, seam = MACHINE, report = () => {} } = options;
  await using stack = new AsyncDisposableStack();
  const reference = referenceOf(name);
  const opened = await storeOf(store, stack);
  const from = new PacedStore(opened, bandwidth, seam);
  const copied = new ObjectNames(options.as ?? reference.volume);
  const plain = await storeOf(to, stack, { create: true });
  const key = keyOf(opened);
  const target = key === undefined ? plain : new OpenedStore(innerOf(plain), key);
  const kept = await keptState(from, reference, "a copy", seam);
  stack.defer(() => kept.release());
  if (kept.unkept !== undefined) report(unkeptWords(name, kept.unkept));
  const names = new ObjectNames(reference.volume);
  checkDetached(reference, kept);
  const { volume } = kept.manifest;
  const place = await retried(() => holdName(target, copied, volume, seam), {
    withinMs: PATIENCE_MS,
  });
  const parts = { from, target, names, copied, kept, reference, options, seam, place };
  return await new Copy(parts).run();
}

function checkDetached({ volume, snapshot }: VolumeReference, { head }: KeptState): void {
  if (snapshot !== undefined || head.journal === NO_UUID) return;
  throw new UblkError("VOLUME_BUSY", {
    operation: `copy ${volume}`,
    reason: `${head.host || "somebody"} has it attached, or has not detached it`,
    hint: "make a snapshot and copy that, or detach it first",
  });
}

/** Puts a head that holds the name. @returns Its version. */
async function holdName(
  target: Store,
  names: ObjectNames,
  volume: string,
  seam: Seam,
): Promise<Version> {
  const found = await readAnyHead(target, names);
  if (found !== undefined && !isFree(found.head)) throw exists(target, names, "a volume");
  const catalog = (await readCatalog(target, names))?.catalog;
  // Somebody may still be deleting its objects, by names that the copy has too.
  if (!isOfCopy(catalog, volume)) throw exists(target, names, "the remains of a volume");
  const place = await putFirstHead(
    target,
    names,
    placeholder(volume, seam, seam.now()),
    found?.version,
  );
  if (place === undefined) throw exists(target, names, "a volume");
  return place;
}

/** Whether a catalog is none, or one that an interrupted copy of the volume has left. */
function isOfCopy(catalog: Catalog | undefined, volume: string): boolean {
  return catalog === undefined || catalog.removed === undefined && catalog.volume === volume;
}

function exists({ url }: Store, { volume }: ObjectNames, what: string): UblkError {
  return new UblkError("VOLUME_EXISTS", {
    operation: `copy to ${volume}`,
    reason: `${url} has ${what} of that name`,
    hint: "give the copy another name",
  });
}

interface CopyParts {
  readonly from: Store;
  readonly target: Store;
  readonly names: ObjectNames;
  readonly copied: ObjectNames;
  readonly kept: KeptState;
  readonly reference: VolumeReference;
  readonly options: CopyOptions;
  readonly seam: Seam;
  /** The version of the head that holds the name. */
  readonly place: Version;
}

/** An object to copy. */
interface Wanted {
  /** Its name in the source. */
  readonly name: string;
  /** Its name in the copy. */
  readonly as: string;
  /** Throws if its bytes are not right. */
  readonly verify: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** The copy's bytes, if they are others. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

class Copy {
  readonly #parts: CopyParts;
  readonly #sizes = new Map<string, number>();
  /** Names that the target had at the beginning: a copy may have been interrupted. */
  readonly #there = new Set<string>();
  /** Names of the copy's objects that are done. */
  readonly #done = new Set<string>();
  #doneBytes = 0;
  #totalBytes = 0;
  #copiedBytes = 0;

  constructor(parts: CopyParts) {
    this.#parts = parts;
  }

  /**
   * Copies. A snapshot that is removed meanwhile is left out: it was once said to be damaged, as soon as
   * what it had needed was collected.
   */
  async run(): Promise<TransferProgress> {
    let entries = await this.#entries();
    for (;;) {
      try {
        return await this.#run(entries);
      } catch (error) {
        if (!isUblkError(error) || error.code !== "VOLUME_DAMAGED") throw error;
        const now = new Set((await this.#entries()).map(({ id }) => id));
        const left = entries.filter(({ id }) => now.has(id));
        if (left.length === entries.length) throw error;
        entries = left;
      }
    }
  }

  /** The entries of the snapshots that are copied with the volume. */
  async #entries(): Promise<CatalogEntry[]> {
    const { from, names, kept, reference } = this.#parts;
    if (reference.snapshot !== undefined) return [];
    const { entries } = await catalogOf(from, names, kept.manifest.volume);
    return entries.filter(({ kind }) => kind === "snapshot");
  }

  async #run(entries: readonly CatalogEntry[]): Promise<TransferProgress> {
    const { from, target, names, copied, kept } = this.#parts;
    const { volume } = kept.manifest;
    [this.#doneBytes, this.#totalBytes] = [0, 0];
    const manifests = new Map([[kept.manifest.number, kept.manifest]]);
    for (const entry of entries) {
      manifests.set(entry.manifest, await readManifest(from, names, { ...entry, volume }));
    }
    const folders = new Set([names.volume]);
    for (const { ancestors } of manifests.values()) {
      for (const { name } of ancestors) folders.add(name);
    }
    for (const folder of folders) {
      for await (const { name, size } of from.list(`${folder}/`)) this.#sizes.set(name, size);
    }
    for await (const { name } of target.list(`${copied.volume}/`)) this.#there.add(name);
    const steps = await this.#wanted([...manifests.values()]);
    if (kept.head.encrypted) await this.#copyKey(names.key(volume), copied.key(volume));
    for (const { name } of steps.flat()) this.#totalBytes += this.#sizes.get(name) ?? 0;
    for (const step of steps) await this.#copyAll(step);
    await this.#finish(entries);
    const { options } = this.#parts;
    options.onProgress?.(this.#progress);
    return this.#progress;
  }

  get #progress(): TransferProgress {
    const [doneBytes, totalBytes] = [this.#doneBytes, this.#totalBytes];
    return { doneBytes, totalBytes, copiedBytes: this.#copiedBytes };
  }

  /** Copies the key, which may have been replaced since an earlier attempt. */
  async #copyKey(name: string, as: string): Promise<void> {
    const { from, target } = this.#parts;
    const found = await from.get(name);
    if (found === undefined) throw damaged(from, name, "is missing, and is needed");
    await this.#checkHeld();
    if (await target.putIfAbsent(as, found.bytes) !== undefined) return;
    const before = await target.get(as);
    if (before !== undefined) await target.replace(as, found.bytes, before.version);
    const now = await target.get(as);
    if (now !== undefined && areEqual(now.bytes, found.bytes)) return;
    throw exists(target, this.#parts.copied, "another key");
  }

  /**
   * Throws if the name is not held any more. Another copy of the same volume may have taken it, and be
   * finished, in use, and have snapshots: its catalog and key must not be replaced.
   */
  async #checkHeld(): Promise<void> {
    const { target, copied, place } = this.#parts;
    if ((await readAnyHead(target, copied))?.version === place) return;
    throw lostName(target, copied.volume, "copy to");
  }

  /** The objects that manifests need: chunks, runs, and the manifests. */
  async #wanted(manifests: readonly Manifest[]): Promise<Wanted[][]> {
    const { from, names, copied } = this.#parts;
    const chunks = new Map<number, Wanted>();
    const runs = new Map<number, Wanted>();
    for (const manifest of manifests) {
      const maps = await loadMaps({ store: from, names, manifest });
      for (const cursor = maps.chunks.cursor(); cursor.next();) {
        const number = chunkOf(cursor.place);
        if (chunks.has(number)) continue;
        const owner = ownerOfChunk(names, manifest, number);
        const name = owner.names.chunk(number);
        const { volume } = owner;
        const parts = { object: name, number, volume, blockSize: manifest.blockSize };
        const verify = (bytes: Uint8Array<ArrayBuffer>) => verifyChunk(from, { ...parts, bytes });
        chunks.set(number, { name, as: copied.chunk(number), verify });
      }
      for (const [nth, { number }] of manifest.runs.entries()) {
        if (runs.has(number)) continue;
        // It was verified when it was read just now, and never changes.
        await readRun(from, names, manifest, nth);
        const name = ownerOfRun(names, manifest, number).names.run(number);
        runs.set(number, { name, as: copied.run(number), verify: () => {} });
      }
    }
    const named = manifests.map((manifest) => ({
      ...{ name: names.manifest(manifest.number), as: copied.manifest(manifest.number) },
      ...{ verify: () => {}, bytes: this.#adopted(manifest) },
    }));
    return [[...chunks.values()], [...runs.values()], named];
  }

  /** The manifest of a clone's copy, which has the objects of its ancestors too. */
  #adopted(manifest: Manifest): Uint8Array<ArrayBuffer> | undefined {
    const { volume: name } = this.#parts.copied;
    if (manifest.ancestors.length === 0) return undefined;
    const ancestors = manifest.ancestors.map((ancestor) => ({ ...ancestor, name }));
    return encodeManifest({ ...manifest, ancestors }).bytes;
  }

  /** Copies objects, of which none needs another. */
  async #copyAll(objects: readonly Wanted[]): Promise<void> {
    const left = objects.values();
    const work = async () => {
      for (const wanted of left) {
        if (!this.#done.has(wanted.as)) {
          await retried(() => this.#copy(wanted), { withinMs: PATIENCE_MS });
          this.#done.add(wanted.as);
        }
        this.#doneBytes += this.#sizes.get(wanted.name) ?? 0;
        this.#parts.options.onProgress?.(this.#progress);
      }
    };
    const outcomes = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  async #copy({ name, as, verify, bytes: other }: Wanted): Promise<void> {
    const { from, target, copied } = this.#parts;
    const found = await from.get(name);
    if (found === undefined) throw damaged(from, name, "is missing, and is needed");
    verify(found.bytes);
    const bytes = other ?? found.bytes;
    if (this.#there.has(as) && areEqual((await target.get(as))?.bytes ?? NOTHING, bytes)) return;
    const put = await target.putIfAbsent(as, bytes);
    const there = await target.get(as);
    if (there === undefined || !areEqual(there.bytes, bytes)) {
      if (put === undefined) throw exists(target, copied, "another object");
      throw damaged(target, as, "was written, and reads as something else");
    }
    if (put !== undefined) this.#copiedBytes += bytes.length;
  }

  /** Puts catalog and head. */
  async #finish(entries: readonly CatalogEntry[]): Promise<void> {
    const { target, copied, kept, seam, place } = this.#parts;
    const { head, manifest } = kept;
    const { volume, number } = manifest;
    const named = await Promise.all(entries.map(async (entry) => ({
      ...entry,
      manifestSum: await this.#sumOf(entry.manifest),
    })));
    const catalog = encodeCatalog({
      ...{ volume, nonce: seam.uuid(), floor: number, least: 0, entries: named },
      // Journals and caches of this one are not those of the volume.
      copy: seam.uuid(),
    });
    const lost = () => lostName(target, copied.volume, "copy to");
    const patiently = <T>(call: () => Promise<T>) => retried(call, { withinMs: PATIENCE_MS });
    await patiently(async () => {
      const before = await readCatalog(target, copied);
      // The mark of a removal must stay: it says which names are still to be deleted.
      if (!isOfCopy(before?.catalog, volume)) throw lost();
      // After the catalog: whoever changes that later makes the replacement fail.
      await this.#checkHeld();
      await (before === undefined
        ? target.putIfAbsent(copied.catalog, catalog)
        : target.replace(copied.catalog, catalog, before.version));
      const now = await target.get(copied.catalog);
      if (now === undefined || !areEqual(now.bytes, catalog)) throw lost();
    });
    const isWhole = number === head.manifest;
    const last: Head = {
      ...head,
      ...{ nonce: seam.uuid(), time: seam.now(), manifest: number },
      manifestSum: await this.#sumOf(number),
      ...{ attached: false, journal: NO_UUID, owner: NO_UUID, host: "" },
      written: isWhole ? head.written : manifest.written,
    };
    const made = await patiently(() => putFirstHead(target, copied, last, place));
    if (made === undefined) throw lost();
  }

  /** The sum of a manifest that was copied. */
  async #sumOf(number: number): Promise<number> {
    const { target, copied } = this.#parts;
    const { bytes } = (await target.get(copied.manifest(number)))!;
    return sumOfObject(bytes);
  }
}

function verifyChunk(store: Store, parts: Omit<ChunkParts, "counts">): void {
  const counts: Counts = { findings: [], objects: 0, bytes: 0, blocks: 0 };
  checkChunk({ ...parts, counts });
  const [finding] = counts.findings;
  if (finding !== undefined) throw damaged(store, parts.object, `: ${finding.words}`);
}
