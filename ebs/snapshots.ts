/**
 * Operations on snapshots. Their ids are unique in the whole store, while the volume library names
 * them within their volume: the record of an id says whose it is.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { isUblkError } from "../uapi/error.ts";
import { copySnapshot, isCopy } from "../volume/copy_snapshot.ts";
import type { Seam } from "../volume/seam.ts";
import { createSnapshot, listSnapshots, removeSnapshot } from "../volume/snapshots.ts";
import { waitForSnapshot } from "../volume/wait_for_snapshot.ts";
import { EbsError, mayPass } from "./error.ts";
import type { Page, Records, SnapshotRecord } from "./records.ts";

/** The parts of {@linkcode Snapshots}. */
export interface SnapshotParts {
  readonly store: Store;
  readonly records: Records<SnapshotRecord>;
  readonly seam: Seam;
  /** The folder of journals of this node. */
  readonly journal: string;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** A snapshot that has begun. */
export interface BegunSnapshot {
  readonly record: SnapshotRecord;
  /** Resolves once it is complete; undefined if it was before. */
  readonly completion: Promise<SnapshotRecord> | undefined;
}

/** Snapshots in a store. The caller has the turn of their volume. */
export class Snapshots {
  readonly #parts: SnapshotParts;

  /** Of a store. */
  constructor(parts: SnapshotParts) {
    this.#parts = parts;
  }

  /**
   * A snapshot. One that is still being made is `pending`.
   *
   * @throws {EbsError} `not_found`
   */
  async describe(id: string): Promise<SnapshotRecord> {
    const record = await this.find(id);
    if (record === undefined) throw missing(id);
    return record;
  }

  /** A snapshot; undefined if there is none. */
  async find(id: string): Promise<SnapshotRecord | undefined> {
    const record = await this.#parts.records.get(id);
    return record?.state === "deleting" ? undefined : record;
  }

  /**
   * Takes an id for a snapshot of a volume. Again, it returns what there is. Its time and its size are
   * there from the beginning: one that was pending said that it had no bytes, and no volume could be
   * made of it later.
   *
   * @throws {EbsError} `already_exists` if another volume has it, or another source.
   */
  async reserve(
    wish: Pick<SnapshotRecord, "id" | "volume" | "bytes" | "source" | "volumeCreated">,
  ): Promise<SnapshotRecord> {
    const { records, seam } = this.#parts;
    const { id, volume, source, volumeCreated } = wish;
    const { record } = await records.create({ ...wish, state: "pending", created: seam.now() });
    if (record.volume !== volume || record.state === "deleting") {
      throw new EbsError("already_exists", `snapshot ${id} is of another volume, or being deleted`);
    }
    // What a complete one is, its data tells.
    if (record.state === "completed") return record;
    if (record.source !== source) {
      const what = record.source === undefined ? "no copy" : `a copy of ${record.source}`;
      throw new EbsError("already_exists", `snapshot ${id} is being made, and is ${what}`);
    }
    if (volumeCreated === undefined || record.volumeCreated === volumeCreated) return record;
    // It was asked for of an earlier volume of the id, and is now of this one.
    const isSame = (now: SnapshotRecord) =>
      now.state === "pending" && now.created === record.created;
    const noted = await records.change(
      id,
      (now) => isSame(now) ? { ...now, volumeCreated } : undefined,
    );
    return noted ?? record;
  }

  /**
   * Makes a snapshot whose id is reserved: everything that was answered before is in it. Again, it goes
   * on where it was interrupted.
   *
   * @throws {EbsError} `unavailable` if it is not there yet, and may still come.
   */
  async make({ id, volume }: SnapshotRecord): Promise<SnapshotRecord> {
    try {
      await this.#take(id, volume);
    } catch (error) {
      if (!isUblkError(error)) throw error;
      const later = (reason: string) =>
        new EbsError("unavailable", `snapshot ${id} of ${volume}: ${reason}`, { cause: error });
      if (error.code === "VOLUME_JOURNAL") {
        throw later("its journal is on a node that does not answer");
      }
      // Its server is slow, or gone for now. As the code of a volume that is in use, this gave up the id of
      // a snapshot that was perhaps taken.
      if (error.code === "VOLUME_BUSY") throw later(error.message);
      throw error;
    }
    return await this.#completed(id, volume);
  }

  /** Takes a snapshot, and waits until the store has it. @throws {UblkError} */
  async #take(id: string, volume: string): Promise<void> {
    const { store, seam, journal } = this.#parts;
    try {
      await createSnapshot(store, volume, id, { journal, seam, wait: true });
    } catch (error) {
      // An earlier call has come as far as that: nobody else makes one of this id.
      if (!isUblkError(error) || error.code !== "VOLUME_EXISTS") throw error;
      await waitForSnapshot(store, `${volume}@${id}`, { journal });
    }
  }

  async #completed(id: string, volume: string): Promise<SnapshotRecord> {
    const { store, records, seam } = this.#parts;
    const made = (await listSnapshots(store, volume)).find(({ name }) => name === id);
    if (made === undefined) throw missing(id);
    const record = await records.change(
      id,
      (now) =>
        now.volume === volume && now.state === "pending"
          ? { ...now, state: "completed", bytes: made.size, taken: made.created.getTime() }
          : undefined,
    );
    if (record?.volume === volume && record.state === "completed") return record;
    // Somebody has deleted it while it was made.
    await removeSnapshot(store, volume, id, { seam });
    throw missing(id);
  }

  /**
   * Gives up the id of a snapshot that cannot be made. After an error that may pass it stays: the same
   * request, or this node, goes on with it.
   */
  async failed(record: SnapshotRecord, error: unknown): Promise<void> {
    if (mayPass(error)) return;
    await this.#parts.records.delete({ ...record, state: "pending" });
  }

  /**
   * Gives a snapshot a second id. The two have the same data, and each goes by itself. Again, it returns
   * what there is.
   *
   * @throws {EbsError} `not_found`; `unavailable` if it is pending; `invalid_argument` if it is of another
   *   volume; `already_exists`.
   */
  async copy(from: string, to: string, volume: string): Promise<SnapshotRecord> {
    const { store, seam } = this.#parts;
    if (from === to) throw new EbsError("invalid_argument", `${to} is the source itself`);
    const source = await this.describe(from);
    if (source.volume !== volume) {
      throw new EbsError("invalid_argument", `snapshot ${from} is of ${source.volume}`);
    }
    // The store has no entry of it yet, and a client took that for a snapshot that is not there.
    if (source.state !== "completed") {
      throw new EbsError("unavailable", `snapshot ${from} is ${source.state}; ask again`);
    }
    const there = await this.reserve({ id: to, volume, bytes: source.bytes, source: from });
    const checkCopy = async () => {
      if (await isCopy(store, volume, from, to)) return;
      throw new EbsError("already_exists", `snapshot ${to} exists, and is not of ${from}`);
    };
    if (there.state === "completed") {
      await checkCopy();
      return there;
    }
    try {
      await copySnapshot(store, volume, from, to, { seam });
    } catch (error) {
      const isThere = isUblkError(error) && error.code === "VOLUME_EXISTS";
      if (!isThere) {
        await this.failed(there, error);
        throw error;
      }
      await checkCopy();
    }
    return await this.#completed(to, volume);
  }

  /**
   * Deletes a snapshot. One that is not there is deleted already.
   *
   * @param sweep Removes its volume, if that was deleted before and this was its last snapshot. The record
   *   goes after that: whoever asked again had been told that all was done, and the volume stayed.
   * @param only The one that is meant, if one that was made since under its id is not.
   */
  async delete(
    id: string,
    sweep: (volume: string) => Promise<void>,
    only?: SnapshotRecord,
  ): Promise<void> {
    const { store, records, seam } = this.#parts;
    const isMeant = ({ created }: SnapshotRecord) => created === (only?.created ?? created);
    const record = await records.change(
      id,
      (now) => isMeant(now) ? { ...now, state: "deleting" } : undefined,
    );
    if (record === undefined || !isMeant(record)) return;
    try {
      await removeSnapshot(store, record.volume, id, { seam });
    } catch (error) {
      if (!isUblkError(error) || error.code !== "VOLUME_NOT_FOUND") throw error;
    }
    await sweep(record.volume);
    await records.delete(record);
  }

  /** A page of snapshots after a token. */
  async page(after: string, most: number): Promise<Page<SnapshotRecord>> {
    const { report } = this.#parts;
    const { records, next } = await this.#parts.records.page(after, most, report);
    return { records: records.filter(({ state }) => state !== "deleting"), next };
  }
}

function missing(id: string): EbsError {
  return new EbsError("not_found", `snapshot ${id}: there is none`);
}
