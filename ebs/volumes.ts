/**
 * Operations on volumes as they are in the store, whoever has them mounted.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { isUblkError } from "../uapi/error.ts";
import { NO_UUID } from "../volume/format/record.ts";
import { readAnyHead, readHead, stateOf } from "../volume/state.ts";
import { removeVolume, type RemoveVolumeOptions } from "../volume/list.ts";
import { ObjectNames } from "../volume/names.ts";
import { resizeVolume } from "../volume/resize.ts";
import type { Seam } from "../volume/seam.ts";
import { EbsError } from "./error.ts";
import type { NodeKey } from "./node_key.ts";
import type { Peers } from "./peers.ts";
import type { Page, Records, VolumeRecord } from "./records.ts";

/** The state of a volume, in EC2's words. */
export type VolumeState = "creating" | "available" | "in-use" | "deleting" | "error";

/** A volume. */
export interface VolumeView {
  readonly id: string;
  readonly bytes: number;
  readonly state: VolumeState;
  /** Somebody has it open for writing, or died with it open. */
  readonly isWritten: boolean;
  /** It cannot be read without the key. */
  readonly isEncrypted: boolean;
  readonly record: VolumeRecord;
}

/** The parts of {@linkcode Volumes}. */
export interface VolumeParts {
  /** This node. */
  readonly node: string;
  /** The others. */
  readonly peers: Peers;
  readonly store: Store;
  readonly key: NodeKey;
  readonly records: Records<VolumeRecord>;
  readonly seam: Seam;
  /** The folder of journals of this node. */
  readonly journal: string;
  /** The folder of caches of this node. */
  readonly cacheDir: string;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** Volumes in a store. The caller has the turn of each that it changes. */
export class Volumes {
  readonly #parts: VolumeParts;

  /** Of a store. */
  constructor(parts: VolumeParts) {
    this.#parts = parts;
  }

  /** Whether another node is making a volume. Nobody else may touch it then. */
  async isMaking({ state, maker }: VolumeRecord): Promise<boolean> {
    const { node, peers } = this.#parts;
    return state === "creating" && maker !== undefined && maker !== node &&
      await peers.isThere(maker);
  }

  /** The other node that is making a volume, and is there; undefined if there is none. */
  async makerOf(id: string): Promise<string | undefined> {
    const record = await this.#parts.records.get(id);
    return record !== undefined && await this.isMaking(record) ? record.maker : undefined;
  }

  /** A volume. @throws {EbsError} `not_found` */
  async describe(id: string): Promise<VolumeView> {
    const { store, records } = this.#parts;
    const record = await records.get(id);
    if (record === undefined || record.state === "retired") throw missingVolume(id);
    if (record.state !== "available") return unmadeView(record, record.state);
    const { head, manifest } = await stateOf(store, new ObjectNames(id));
    const { attached: isWritten } = head;
    // A writer whose node could not tell that it has left is none.
    const attachments = record.attachments.filter(({ readOnly }) => readOnly || isWritten);
    const isInUse = isWritten || attachments.length > 0;
    return {
      ...{ id, bytes: manifest.size, isWritten, isEncrypted: head.encrypted === true },
      record: { ...record, attachments },
      state: isInUse ? "in-use" : "available",
    };
  }

  /**
   * A volume, for whoever tells about many. One that is damaged is in state `error`, and reported.
   *
   * @throws {EbsError} `not_found`
   */
  async view(id: string): Promise<VolumeView> {
    try {
      return await this.describe(id);
    } catch (error) {
      if (!isUblkError(error) || error.code !== "VOLUME_DAMAGED") throw error;
      const record = await this.#parts.records.get(id);
      if (record === undefined) throw missingVolume(id);
      this.#parts.report(`${id}: ${error.message}`);
      return unmadeView(record, "error");
    }
  }

  /** A page of volumes after a token. */
  async page(after: string, most: number): Promise<Page<VolumeRecord>> {
    const { report } = this.#parts;
    const { records, next } = await this.#parts.records.page(after, most, report);
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
    const { key, seam } = this.#parts;
    await key.within(id, (store) => resizeVolume(store, id, bytes, seam));
  }

  /**
   * Deletes a volume that nobody has mounted. One that is not there is deleted already. One with
   * snapshots is hidden, and is removed with the last of them.
   *
   * @throws {EbsError} `volume_in_use`
   */
  async delete(id: string): Promise<void> {
    const { store, records, journal, cacheDir } = this.#parts;
    const before = await records.get(id);
    if (before === undefined) return;
    if (await this.isMaking(before)) {
      const reason = `is being made by node ${before.maker}; ask again`;
      throw new EbsError("unavailable", `volume ${id} ${reason}`);
    }
    let isMade = true;
    const uuid = await this.#uuidOf(id);
    const head = (await readHead(store, new ObjectNames(id)))?.head;
    const isWritten = head?.attached === true;
    // While this one is at work, another one may be done, and somebody may make a volume of that id: the
    // data of that was taken instead.
    const isSame = ({ created }: VolumeRecord) => created === before.created;
    const record = await records.change(id, (now) => {
      if (!isSame(now)) return undefined;
      if (now.attachments.some(({ readOnly }) => readOnly || isWritten)) throw mounted(id, now);
      if (now.state === "creating" && now.maker !== before.maker) {
        throw new EbsError("unavailable", `volume ${id} has just been begun by ${now.maker}`);
      }
      isMade = now.state !== "creating" && now.state !== "error";
      return now.state === "retired" ? undefined : { ...now, state: "deleting" };
    });
    if (record === undefined || !isSame(record)) return;
    // Its last snapshot may have gone while the store was away.
    if (record.state === "retired") return await this.sweep(id);
    try {
      if (await this.#remove(id, { force: !isMade, journal, cacheDir, uuid })) {
        await records.delete(record);
      } else await this.#become("retired", record);
    } catch (error) {
      // Without its key, what is there of a volume is as it was.
      const isLocked = isUblkError(error) && error.code === "VOLUME_KEY" && head !== undefined;
      if (isLocked || isUblkError(error) && error.code === "VOLUME_BUSY") {
        await this.#become(isMade ? "available" : "error", record);
      }
      throw error;
    }
  }

  /** What becomes of a volume that is not removed. One that was made since, under its id, stays as it is. */
  async #become(state: VolumeRecord["state"], { id, created }: VolumeRecord): Promise<void> {
    const isSame = (now: VolumeRecord) => now.state === "deleting" && now.created === created;
    await this.#parts.records.change(id, (now) => isSame(now) ? { ...now, state } : undefined);
  }

  /** Removes a volume that was deleted, if nothing needs it any more. */
  async sweep(id: string): Promise<void> {
    const { records } = this.#parts;
    const before = await records.get(id);
    if (before?.state !== "retired") return;
    const uuid = await this.#uuidOf(id);
    const record = await records.get(id);
    if (record?.state !== "retired" || record.created !== before.created) return;
    if (await this.#remove(id, { uuid })) await records.delete(record);
  }

  /**
   * The volume that has a name, also if it is being removed: one that gets the name after this look is
   * another one, and stays.
   */
  async #uuidOf(id: string): Promise<string> {
    return (await readAnyHead(this.#parts.store, new ObjectNames(id)))?.head.volume ?? NO_UUID;
  }

  /** @returns Whether it is gone; not so if it has snapshots. */
  async #remove(id: string, how: RemoveVolumeOptions): Promise<boolean> {
    const { store, seam, key } = this.#parts;
    const remove = (opened: Store) =>
      removeVolume(opened, id, { ...how, seam, spareSnapshots: true });
    try {
      // What clones need of it, only its key can tell. Of one that was never made, they need nothing.
      await (how.force ? remove(store) : key.perhapsWithin(id, remove));
      return true;
    } catch (error) {
      if (!isUblkError(error)) throw error;
      if (error.code === "VOLUME_NOT_FOUND") return true;
      if (error.code !== "VOLUME_BUSY") throw error;
      const head = (await readHead(store, new ObjectNames(id)))?.head;
      if (head === undefined) {
        throw new EbsError(
          "unavailable",
          `volume ${id} is being removed by another node; ask again`,
        );
      }
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
    if (record === undefined || record.state === "retired") throw missingVolume(id);
    return record;
  }
}

/** A volume that is still being made, or is none any more. */
export function unmadeView(record: VolumeRecord, state: VolumeState): VolumeView {
  const { id, bytes, encrypted: isEncrypted = false } = record;
  return { id, bytes, state, isWritten: false, isEncrypted, record };
}

/** The error of a volume that is not there. */
export function missingVolume(id: string): EbsError {
  return new EbsError("not_found", `volume ${id}: there is none`);
}

function mounted(id: string, { attachments }: VolumeRecord): EbsError {
  const nodes = attachments.map(({ node }) => node).join(", ");
  return new EbsError("volume_in_use", `volume ${id} is mounted on ${nodes}; unmount it first`);
}
