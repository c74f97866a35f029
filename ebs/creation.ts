/**
 * How volumes come to be. A record takes the id first; then the volume is made, by one node, and another
 * one goes on if that dies.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { isUblkError, type UblkErrorCode } from "../uapi/error.ts";
import { readHead, stateOf } from "../volume/state.ts";
import { createVolume } from "../volume/create.ts";
import { ObjectNames } from "../volume/names.ts";
import type { VolumeKeyFile } from "../volume/seal/key_source.ts";
import type { Seam } from "../volume/seam.ts";
import { DEFAULT_BLOCK_SIZE, DEFAULT_CHUNK_SIZE } from "../volume/shape.ts";
import { type SnapshotSource, volumeFromSnapshot } from "./clone.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { NodeKey } from "./node_key.ts";
import type { Records, VolumeRecord } from "./records.ts";
import { seedVolume, sumOf } from "./seed.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Turns } from "./turns.ts";
import { missingVolume, unmadeView, type Volumes, type VolumeView } from "./volumes.ts";

/** How long another node that makes a volume is waited for, in milliseconds: less than a client waits. */
const MAKER_MS = 15_000;
/** How often it is looked at, in milliseconds. */
const LOOK_MS = 100;

/** Errors after which nothing of a volume was made. */
const REFUSALS: ReadonlySet<UblkErrorCode> = new Set([
  ...["VOLUME_NOT_FOUND", "INVALID_ARGUMENT", "VOLUME_KEY"] as const,
]);

/** The volume to create. */
export interface CreateWish {
  /** The id. */
  readonly id: string;
  /** Bytes of the disk. */
  readonly bytes: number;
  /** The zone, for whoever asks. */
  readonly zone?: string;
  /** The zone of a volume for which none is asked: that of the node that makes it. */
  readonly defaultZone?: string;
  /** The type, for whoever asks. */
  readonly type?: string;
  /** The token of a client that may ask more than once. */
  readonly token?: string;
  /**
   * Encrypt it with the key of the nodes. A volume from a snapshot is what its source is.
   *
   * @default false
   */
  readonly encrypted?: boolean;
  /** The snapshot that it begins as. */
  readonly source?: SnapshotSource;
  /** The bytes that it begins with. */
  readonly seed?: Uint8Array<ArrayBuffer>;
}

/** A volume whose creation has begun. */
export interface BegunVolume {
  readonly view: VolumeView;
  /** Resolves once it is complete; undefined if it was before. */
  readonly completion: Promise<VolumeView> | undefined;
}

/** The parts of a {@linkcode Creation}. */
export interface CreationParts {
  /** This node. */
  readonly node: string;
  readonly store: Store;
  readonly key: NodeKey;
  readonly records: Records<VolumeRecord>;
  readonly seam: Seam;
  readonly volumes: Volumes;
  readonly snapshots: Snapshots;
  readonly turns: Turns;
  /** The folder for journals of volumes that are being seeded. */
  readonly making: string;
}

/** Creates volumes in a store. */
export class Creation {
  readonly #parts: CreationParts;

  /** Takes over the parts. */
  constructor(parts: CreationParts) {
    this.#parts = parts;
  }

  /**
   * Creates a volume. Called again with the same wish, it returns what there is.
   *
   * @throws {EbsError} `already_exists`, `invalid_argument`; `not_found` if there is no such snapshot.
   */
  async create(wish: CreateWish): Promise<VolumeView> {
    const { view, completion } = await this.begin(wish);
    return await completion ?? view;
  }

  /** Begins to create a volume, which is made in the background. @throws {EbsError} */
  async begin(asked: CreateWish): Promise<BegunVolume> {
    const { id, bytes, source } = asked;
    const complete = await this.#complete(asked);
    if (complete !== undefined) return { view: complete, completion: undefined };
    if (source !== undefined) await this.#checkSource(source, bytes);
    const wish = { ...asked, encrypted: await this.#isEncrypted(asked) };
    const record = await this.#parts.turns.run(id, () => this.#take(wish));
    if (record.state !== "creating") {
      return { view: await this.#parts.volumes.describe(id), completion: undefined };
    }
    const completion = this.#parts.turns.run(id, () => this.#finish(wish));
    return { view: unmadeView(record, "creating"), completion };
  }

  /**
   * Goes on with a volume of a snapshot that this node was making, also if it has failed. It returns if
   * there is nothing to do any more.
   */
  async resume(id: string): Promise<void> {
    const { node, records, turns } = this.#parts;
    await turns.run(id, async () => {
      const record = await records.change(
        id,
        (now) =>
          now.state === "error" && now.maker === node && now.source !== undefined
            ? { ...now, state: "creating" }
            : undefined,
      );
      if (record?.source === undefined || !isMadeBy(record, node)) return;
      const { bytes, source, encrypted = false } = record;
      await this.#finish({ id, bytes, source, encrypted });
    });
  }

  /**
   * A volume of a snapshot that is complete; undefined if it is none. Its snapshot may be gone by now, and
   * the volume that that was of.
   */
  async #complete(wish: CreateWish): Promise<VolumeView | undefined> {
    const { id, source } = wish;
    if (source === undefined) return undefined;
    const record = await this.#parts.records.get(id);
    const isOf = record?.source?.volume === source.volume &&
      record.source.snapshot === source.snapshot;
    if (!isOf || record.state !== "available") return undefined;
    // It is what its source was, whether one asks for it or not.
    const encrypted = wish.encrypted || record.encrypted;
    checkSame(record, { ...wish, encrypted }, wish.seed && await sumOf(wish.seed));
    return await this.#parts.volumes.describe(id);
  }

  async #checkSource({ volume, snapshot }: NonNullable<CreateWish["source"]>, bytes: number) {
    const found = await this.#parts.snapshots.describe(snapshot);
    if (found.volume !== volume) {
      const reason = `is of volume ${found.volume}, and not of ${volume}`;
      throw new EbsError("invalid_argument", `snapshot ${snapshot} ${reason}`);
    }
    if (found.state !== "completed") {
      throw new EbsError("unavailable", `snapshot ${snapshot} is ${found.state}`);
    }
    if (bytes >= found.bytes) return;
    const reason = `has ${found.bytes} bytes, and the volume would have ${bytes}`;
    throw new EbsError("invalid_argument", `snapshot ${snapshot} ${reason}`);
  }

  /** Whether a volume is to be encrypted. @throws {EbsError} `unsupported_capability` */
  async #isEncrypted({ id, source, encrypted = false }: CreateWish): Promise<boolean> {
    const { key } = this.#parts;
    const isSealed = source === undefined ? encrypted : await key.isEncrypted(source.volume);
    if (isSealed) key.required(`volume ${id}`);
    if (isSealed || !encrypted) return isSealed;
    const reason = "is not encrypted, and a volume of it shares its data";
    throw new EbsError("unsupported_capability", `snapshot ${source?.snapshot} ${reason}`);
  }

  /**
   * Takes an id for a volume. Again, with the same wish, it returns what there is: a volume that is
   * still `creating` is to be finished.
   *
   * @throws {EbsError} `already_exists` if there is another one of that id.
   */
  async #take(wish: CreateWish): Promise<VolumeRecord> {
    const { records, seam, node } = this.#parts;
    const { id, bytes, type, token, source, encrypted, zone = wish.defaultZone } = wish;
    const seed = wish.seed && await sumOf(wish.seed);
    const { record: found } = await records.create({
      ...{ id, bytes, zone, type, token, source, seed, attachments: [], maker: node },
      ...{ state: "creating", created: seam.now(), ...encrypted && { encrypted } },
    });
    checkSame(found, wish, seed);
    // Another node may be asked again at the same time, and be faster.
    const record = found.state !== "error" ? found : await records.change(
      id,
      (now) => now.state === "error" ? { ...now, state: "creating", maker: node } : undefined,
    );
    if (record === undefined) throw missingVolume(id);
    if (record.state !== "creating" || record.maker === node) return record;
    return await this.#madeBy(record, seam.clock() + MAKER_MS);
  }

  /** A volume that another node makes: once that is done, or the node is gone. */
  async #madeBy(record: VolumeRecord, untilMs: number): Promise<VolumeRecord> {
    const { records, seam, node } = this.#parts;
    const { id, maker } = record;
    if (!await this.#parts.volumes.isMaking(record)) {
      const taken = await records.change(
        id,
        (now) =>
          now.state === "creating" && now.maker === maker ? { ...now, maker: node } : undefined,
      );
      if (taken?.maker === node) return taken;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const now = await records.get(id);
    if (now === undefined) throw missingVolume(id);
    if (now.state !== "creating" || now.maker === node) return now;
    if (seam.clock() < untilMs) return await this.#madeBy(now, untilMs);
    throw new EbsError("unavailable", `volume ${id} is being made by node ${maker}; ask again`);
  }

  /** Makes a volume whose id is taken. Again, it goes on where it was interrupted. */
  async #finish(wish: CreateWish): Promise<VolumeView> {
    if ((await this.#parts.records.get(wish.id))?.state === "creating") await this.#make(wish);
    return await this.#parts.volumes.describe(wish.id);
  }

  async #make({ id, bytes, source, seed, encrypted }: CreateWish): Promise<void> {
    const { node, store, records, seam, making } = this.#parts;
    // A node that takes this one for dead goes on with the record.
    const isOurs = (record: VolumeRecord) => isMadeBy(record, node);
    const key = encrypted ? this.#parts.key.required(`volume ${id}`) : undefined;
    try {
      if (source === undefined) await this.#createEmpty(id, bytes, key);
      else await volumeFromSnapshot(store, source, id, bytes, key, seam);
      if (seed !== undefined) await seedVolume(store, id, seed, key, making);
    } catch (error) {
      const isRefused = isUblkError(error) && REFUSALS.has(error.code);
      // Nothing was made, so nothing is left of it.
      if (isRefused) {
        const record = await records.get(id);
        if (record !== undefined && isOurs(record)) await records.delete(record);
      } else if (ebsErrorOf(error).code === "internal") {
        // The same request may go on, once somebody has done something about it.
        const failed = (now: VolumeRecord) =>
          isOurs(now) ? { ...now, state: "error" as const } : undefined;
        await records.change(id, failed).catch(() => {});
      }
      throw error;
    }
    await records.change(
      id,
      (now) => now.state === "creating" ? { ...now, state: "available" } : undefined,
    );
  }

  /** Creates one that is zeroes. One of that kind that is there already is taken over. */
  async #createEmpty(id: string, bytes: number, key: VolumeKeyFile | undefined): Promise<void> {
    const { node, store, seam } = this.#parts;
    const shape = { size: bytes, blockSize: DEFAULT_BLOCK_SIZE, chunkSize: DEFAULT_CHUNK_SIZE };
    try {
      await createVolume(store, id, shape, seam, key);
    } catch (error) {
      if (!isUblkError(error) || error.code !== "VOLUME_EXISTS") throw error;
      const found = await readHead(store, new ObjectNames(id));
      const size = found && (await stateOf(store, new ObjectNames(id))).manifest.size;
      const isEncrypted = found?.head.encrypted === true;
      if (size === bytes && isEncrypted === (key !== undefined)) {
        // Nobody takes over what he cannot open.
        return await this.#parts.key.within(id, () => Promise.resolve());
      }
      const record = await this.#parts.records.get(id);
      if (record !== undefined && isMadeBy(record, node)) await this.#parts.records.delete(record);
      // Clones may need the data of a removed volume under its name.
      if (size === undefined) throw error;
      const how = `${size} bytes, and is ${isEncrypted ? "" : "not "}encrypted`;
      throw new EbsError("already_exists", `volume ${id} exists, has ${how}`);
    }
  }
}

/** Whether a node is making a volume. */
function isMadeBy({ state, maker }: VolumeRecord, node: string): boolean {
  return state === "creating" && maker === node;
}

/** Whether a volume that is there is the one that is wished for. */
function checkSame(record: VolumeRecord, wish: CreateWish, seed: string | undefined): void {
  const { id, bytes, zone, type, token, source, encrypted = false } = wish;
  const refuse = (what: string) => {
    throw new EbsError("already_exists", `volume ${id} exists, with ${what}`);
  };
  if (record.state === "retired" || record.state === "deleting") refuse("snapshots of it left");
  if (record.bytes !== bytes) refuse(`${record.bytes} bytes`);
  if ((record.encrypted ?? false) !== encrypted) refuse(`${encrypted ? "no " : ""}encryption`);
  if (record.token !== token) refuse("another client token");
  // Without any, the zone is that of whichever node was asked first.
  if (zone !== undefined && record.zone !== zone) refuse("another zone");
  // A token is for one request; without one, what is not asked for may be anything.
  if ((type ?? token) !== undefined && record.type !== type) refuse("another type");
  if (record.source?.snapshot !== source?.snapshot) refuse("another source");
  if (record.seed !== seed) refuse("other seed data");
}
