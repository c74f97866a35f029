/**
 * Operations on volumes as they are in the store, whoever has them mounted.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { isUblkError } from "../uapi/error.ts";
import { readHead, stateOf } from "../volume/committed.ts";
import { createVolume } from "../volume/create.ts";
import { removeVolume } from "../volume/list.ts";
import { ObjectNames } from "../volume/names.ts";
import { resizeVolume } from "../volume/resize.ts";
import type { Seam } from "../volume/seam.ts";
import { DEFAULT_BLOCK_SIZE, DEFAULT_CHUNK_SIZE } from "../volume/shape.ts";
import { type SnapshotSource, volumeFromSnapshot } from "./clone.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Peers } from "./peers.ts";
import type { Page, Records, VolumeRecord } from "./records.ts";
import { seedVolume, sumOf } from "./seed.ts";

/** How long another node that makes a volume is waited for, in milliseconds: less than a client waits. */
const MAKER_MS = 15_000;
/** How often it is looked at, in milliseconds. */
const LOOK_MS = 100;

/** What is to be created. */
export interface CreateWish {
  /** The id. */
  readonly id: string;
  /** Bytes of the disk. */
  readonly bytes: number;
  /** The zone, for whoever asks. */
  readonly zone?: string;
  /** The type, for whoever asks. */
  readonly type?: string;
  /** The token of a client that may ask more than once. */
  readonly token?: string;
  /** The snapshot that it begins as. */
  readonly source?: SnapshotSource;
  /** The bytes that it begins with. */
  readonly seed?: Uint8Array<ArrayBuffer>;
}

/** The state of a volume, in EC2's words. */
export type VolumeState = "creating" | "available" | "in-use" | "deleting" | "error";

/** A volume. */
export interface VolumeView {
  readonly id: string;
  readonly bytes: number;
  readonly state: VolumeState;
  /** Somebody has it open for writing, or died with it open. */
  readonly isWritten: boolean;
  readonly record: VolumeRecord;
}

/** The parts of {@linkcode Volumes}. */
export interface VolumeParts {
  /** This node. */
  readonly node: string;
  /** The others. */
  readonly peers: Peers;
  readonly store: Store;
  readonly records: Records<VolumeRecord>;
  readonly seam: Seam;
  /** The folder of journals of this node. */
  readonly journal: string;
  /** The folder for journals of volumes that are being seeded. */
  readonly making: string;
}

/** Volumes in a store. The caller has the turn of each that it changes. */
export class Volumes {
  readonly #parts: VolumeParts;

  /** Of a store. */
  constructor(parts: VolumeParts) {
    this.#parts = parts;
  }

  /**
   * Takes an id for a volume. Again, with the same wish, it returns what there is: a volume that is
   * still `creating` is to be finished.
   *
   * @throws {EbsError} `already_exists` if there is another one of that id.
   */
  async begin(wish: CreateWish): Promise<VolumeRecord> {
    const { records, seam, node } = this.#parts;
    const { id, bytes, zone, type, token, source } = wish;
    const seed = wish.seed && await sumOf(wish.seed);
    const { record } = await records.create({
      ...{ id, bytes, zone, type, token, source, seed, attachments: [], maker: node },
      ...{ state: "creating", created: seam.now() },
    });
    checkSame(record, wish, seed);
    if (record.state === "error") {
      const again = await records.change(
        id,
        (now) => now.state === "error" ? { ...now, state: "creating", maker: node } : undefined,
      );
      if (again === undefined) throw missing(id);
      return again;
    }
    if (record.state !== "creating" || record.maker === node) return record;
    return await this.#madeBy(record, seam.clock() + MAKER_MS);
  }

  /** A volume that another node makes: once that is done, or the node is gone. */
  async #madeBy(record: VolumeRecord, untilMs: number): Promise<VolumeRecord> {
    const { records, seam, node } = this.#parts;
    const { id, maker } = record;
    if (!await this.#isMaking(record)) {
      const taken = await records.change(
        id,
        (now) =>
          now.state === "creating" && now.maker === maker ? { ...now, maker: node } : undefined,
      );
      if (taken?.maker === node) return taken;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const now = await records.get(id);
    if (now === undefined) throw missing(id);
    if (now.state !== "creating" || now.maker === node) return now;
    if (seam.clock() < untilMs) return await this.#madeBy(now, untilMs);
    throw new EbsError("unavailable", `volume ${id} is being made by node ${maker}; ask again`);
  }

  /** Whether another node is making a volume. Nobody else may touch it then. */
  async #isMaking({ state, maker }: VolumeRecord): Promise<boolean> {
    const { node, peers } = this.#parts;
    return state === "creating" && maker !== undefined && maker !== node &&
      await peers.isThere(maker);
  }

  /** Makes a volume whose id is taken. Again, it goes on where it was interrupted. */
  async finish(wish: CreateWish): Promise<VolumeView> {
    if ((await this.#parts.records.get(wish.id))?.state === "creating") await this.#make(wish);
    return await this.describe(wish.id);
  }

  async #make({ id, bytes, source, seed }: CreateWish): Promise<void> {
    const { store, records, seam, making } = this.#parts;
    try {
      if (source === undefined) await this.#createEmpty(id, bytes);
      else await volumeFromSnapshot(store, source, id, bytes, seam);
      if (seed !== undefined) await seedVolume(store, id, seed, making);
    } catch (error) {
      const isRefused = isUblkError(error) &&
        (error.code === "VOLUME_NOT_FOUND" || error.code === "INVALID_ARGUMENT");
      // Nothing was made, so nothing is left of it.
      if (isRefused) await records.delete(id);
      else if (ebsErrorOf(error).code === "internal") {
        // The same request may go on, once somebody has done something about it.
        await records.change(id, (now) => ({ ...now, state: "error" })).catch(() => {});
      }
      throw error;
    }
    await records.change(
      id,
      (now) => now.state === "creating" ? { ...now, state: "available" } : undefined,
    );
  }

  /** Creates one that is zeroes. One of that size that is there already is taken over. */
  async #createEmpty(id: string, bytes: number): Promise<void> {
    const { store, seam } = this.#parts;
    const shape = { size: bytes, blockSize: DEFAULT_BLOCK_SIZE, chunkSize: DEFAULT_CHUNK_SIZE };
    try {
      await createVolume(store, id, shape, seam);
    } catch (error) {
      if (!isUblkError(error) || error.code !== "VOLUME_EXISTS") throw error;
      const found = await readHead(store, new ObjectNames(id));
      const size = found && (await stateOf(store, new ObjectNames(id))).manifest.size;
      if (size === bytes) return;
      await this.#parts.records.delete(id);
      // Clones may need the data of a removed volume under its name.
      if (size === undefined) throw error;
      throw new EbsError("already_exists", `volume ${id} exists, and has ${size} bytes`);
    }
  }

  /** A volume. @throws {EbsError} `not_found` */
  async describe(id: string): Promise<VolumeView> {
    const { store, records } = this.#parts;
    const record = await records.get(id);
    if (record === undefined || record.state === "retired") throw missing(id);
    const { state, bytes } = record;
    if (state !== "available") return { id, bytes, state, isWritten: false, record };
    const { head, manifest } = await stateOf(store, new ObjectNames(id));
    const { attached: isWritten } = head;
    // A writer whose node could not tell that it has left is none.
    const attachments = record.attachments.filter(({ readOnly }) => readOnly || isWritten);
    const isInUse = isWritten || attachments.length > 0;
    return {
      ...{ id, bytes: manifest.size, isWritten, record: { ...record, attachments } },
      state: isInUse ? "in-use" : "available",
    };
  }

  /** A page of volumes after a token. */
  async page(after: string, most: number): Promise<Page<VolumeRecord>> {
    const { records, next } = await this.#parts.records.page(after, most);
    return { records: records.filter(({ state }) => state !== "retired"), next };
  }

  /** Checks that a volume may be larger. @returns Whether there is something to do. */
  async mayExpand(id: string, bytes: number): Promise<boolean> {
    const now = await this.describe(id);
    if (now.state !== "available" && now.state !== "in-use") {
      throw new EbsError("unavailable", `volume ${id} is ${now.state}`);
    }
    if (bytes >= now.bytes) return bytes > now.bytes;
    const reason = `it has ${now.bytes} bytes, and volumes only grow`;
    throw new EbsError("invalid_argument", `volume ${id}: ${reason}`);
  }

  /** Makes a volume that nobody has mounted larger. @throws {UblkError} `VOLUME_BUSY` */
  async expand(id: string, bytes: number): Promise<void> {
    await resizeVolume(this.#parts.store, id, bytes, this.#parts.seam);
  }

  /**
   * Deletes a volume that nobody has mounted. One that is not there is deleted already. One with
   * snapshots is hidden, and is removed with the last of them.
   *
   * @throws {EbsError} `volume_in_use`
   */
  async delete(id: string): Promise<void> {
    const { store, records, journal } = this.#parts;
    const before = await records.get(id);
    if (before !== undefined && await this.#isMaking(before)) {
      const reason = `is being made by node ${before.maker}; ask again`;
      throw new EbsError("unavailable", `volume ${id} ${reason}`);
    }
    let isMade = true;
    const isWritten = (await readHead(store, new ObjectNames(id)))?.head.attached === true;
    const record = await records.change(id, (now) => {
      if (now.attachments.some(({ readOnly }) => readOnly || isWritten)) throw mounted(id, now);
      if (now.state === "creating" && now.maker !== before?.maker) {
        throw new EbsError("unavailable", `volume ${id} has just been begun by ${now.maker}`);
      }
      isMade = now.state !== "creating" && now.state !== "error";
      return now.state === "retired" ? undefined : { ...now, state: "deleting" };
    });
    if (record === undefined || record.state === "retired") return;
    try {
      if (await this.#remove(id, { force: !isMade, journal })) {
        await records.delete(id);
      } else await records.change(id, (now) => ({ ...now, state: "retired" }));
    } catch (error) {
      if (isUblkError(error) && error.code === "VOLUME_BUSY") {
        await records.change(id, (now) => ({ ...now, state: isMade ? "available" : "error" }));
      }
      throw error;
    }
  }

  /** Removes a volume that was deleted, if nothing needs it any more. */
  async sweep(id: string | undefined): Promise<void> {
    const { records } = this.#parts;
    if (id === undefined || (await records.get(id))?.state !== "retired") return;
    if (await this.#remove(id, {})) await records.delete(id);
  }

  /** @returns Whether it is gone; not so if it has snapshots. */
  async #remove(id: string, how: { force?: boolean; journal?: string }): Promise<boolean> {
    const { store, seam } = this.#parts;
    try {
      await removeVolume(store, id, { ...how, seam, spareSnapshots: true });
      return true;
    } catch (error) {
      if (!isUblkError(error)) throw error;
      if (error.code === "VOLUME_NOT_FOUND") return true;
      if (error.code !== "VOLUME_BUSY") throw error;
      const { head } = await stateOf(store, new ObjectNames(id));
      if (head.attached) throw error;
      return false;
    }
  }

  /** Changes the record of a volume. @throws {EbsError} `not_found` */
  async note(id: string, change: (record: VolumeRecord) => VolumeRecord): Promise<VolumeRecord> {
    const record = await this.#parts.records.change(
      id,
      (now) => now.state === "retired" ? undefined : change(now),
    );
    if (record === undefined || record.state === "retired") throw missing(id);
    return record;
  }
}

function missing(id: string): EbsError {
  return new EbsError("not_found", `volume ${id}: there is none`);
}

function mounted(id: string, { attachments }: VolumeRecord): EbsError {
  const nodes = attachments.map(({ node }) => node).join(", ");
  return new EbsError("volume_in_use", `volume ${id} is mounted on ${nodes}; unmount it first`);
}

/** Whether a volume that is there is the one that is wished for. */
function checkSame(record: VolumeRecord, wish: CreateWish, seed: string | undefined): void {
  const { id, bytes, token, source } = wish;
  const refuse = (what: string) => {
    throw new EbsError("already_exists", `volume ${id} exists, with ${what}`);
  };
  if (record.state === "retired" || record.state === "deleting") refuse("snapshots of it left");
  if (record.bytes !== bytes) refuse(`${record.bytes} bytes`);
  if (record.token !== token) refuse("another client token");
  if (record.source?.snapshot !== source?.snapshot) refuse("another source");
  if (record.seed !== seed) refuse("other seed data");
}
