/**
 * The volumes that are mounted on this node.
 *
 * A mount begins with a record on the node's disk and a claim, and ends once the store has everything.
 * In between it may end at any moment: the service dies, the store is away, the claim is lost. What
 * is recorded and what is true are brought together again when the service starts, and after a
 * failure.
 *
 * @module
 */

import type { Seam } from "../volume/seam.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Claim } from "./exclusion.ts";
import type { Export } from "./exports.ts";
import { Leaving, type LeavingParts } from "./leaving.ts";
import {
  isFinal,
  type Mount,
  mountOf,
  type MountWish,
  type OpenMount,
  sameMount,
  wishOf,
} from "./mount.ts";
import type { MountRecord } from "./mount_records.ts";
import { Tries } from "./tries.ts";
import type { Turns } from "./turns.ts";

/** The parts of {@linkcode Mounts}. */
export interface MountParts extends LeavingParts {
  readonly turns: Turns;
  readonly seam: Seam;
  /**
   * Lets everybody know of a mount before anybody can use it. If it rejects, there is none: the volume
   * may be being deleted.
   */
  readonly note: (mount: Mount) => Promise<unknown>;
}

/** Takes notice of mounts, as they come and go. It must not throw. */
export interface MountWatcher {
  mounted?(mount: Mount): void;
  unmounted(volume: string): void;
}

/** How often whoever waits for the store has a journal drained, in milliseconds. */
const HURRY_MS = 200;

/** The mounts of a node. */
export class Mounts {
  readonly #parts: MountParts;
  readonly #open = new Map<string, OpenMount>();
  readonly #watchers = new Set<MountWatcher>();
  /** Volumes that are being brought back. */
  readonly #tries = new Tries();
  readonly #leaving: Leaving;
  /** Volumes that are to be drained although their records do not say so: the disk did not take it. */
  readonly #unrecorded = new Set<string>();
  #isOver = false;

  /** Without any: see {@linkcode recover}. */
  constructor(parts: MountParts) {
    this.#parts = parts;
    this.#leaving = new Leaving(parts);
  }

  /** Tells a watcher of all mounts from now on, and of those that are there. */
  watch(watcher: MountWatcher): void {
    this.#watchers.add(watcher);
    for (const mount of this.all()) watcher.mounted?.(mount);
  }

  /** All mounts. */
  all(): Mount[] {
    return [...this.#open.values()].map(mountOf);
  }

  /** The mount of a volume; undefined if it is not mounted here. */
  get(volume: string): Mount | undefined {
    const entry = this.#open.get(volume);
    return entry && mountOf(entry);
  }

  /**
   * Mounts a volume. Again, with the same wish, it returns what there is. The caller has its turn.
   *
   * @throws {EbsError} `volume_in_use` if it is mounted in another way, or elsewhere; `unavailable` if it
   *   is to be read, and its journal here may have what the store lacks.
   */
  async mount(wish: MountWish): Promise<Mount> {
    const there = this.#open.get(wish.volume);
    if (there !== undefined) return sameMount(there, wish);
    if (this.#isOver) throw over(wish.volume);
    const before = this.#recordOf(wish.volume);
    // Only the writer's record has its journal drained: a reader's must not take its place.
    if (wish.readOnly && before?.readOnly === false) throw stillWritten(before);
    const time = this.#parts.seam.now();
    const { takes = false, ...rest } = wish;
    const port = before?.port || wish.port || 0;
    const record: MountRecord = { ...rest, state: "mounted", port, time };
    try {
      return await this.#begin(record, before, takes);
    } catch (error) {
      throw ebsErrorOf(error);
    }
  }

  /** @param before The record that there is. */
  async #begin(
    record: MountRecord,
    before: MountRecord | undefined,
    takes: boolean,
  ): Promise<Mount> {
    const { records, exporter, exclusion } = this.#parts;
    const { volume, readOnly } = record;
    let claim: Claim | undefined;
    let exported: Export | undefined;
    let isNoted = false;
    try {
      if (!readOnly) claim = await exclusion.claim(volume);
      records.put(record);
      exported = await exporter.open({ ...record, takes });
      if (exported.epoch !== undefined) claim?.opened?.(exported.epoch);
      const entry: OpenMount = { record: { ...record, port: exported.port }, exported, claim };
      if (entry.record.port !== record.port) records.put(entry.record);
      const mount = mountOf(entry);
      await this.#parts.note(mount);
      isNoted = true;
      if (this.#isOver) throw over(volume);
      this.#open.set(volume, entry);
      this.#unrecorded.delete(volume);
      void claim?.lost.then((reason) => this.#lose(entry, `its claim was lost: ${reason}`));
      void exported.ended?.then((reason) => this.#lose(entry, reason));
      for (const watcher of this.#watchers) watcher.mounted?.(mount);
      return mount;
    } catch (error) {
      const isLeft = await this.#undo(record, exported);
      // If its journal has something, that is still to be brought into the store.
      if (isLeft) this.#record(volume, isFinal(error) ? undefined : before);
      await this.#leaving.release(volume, claim);
      if (isNoted) this.#left(volume);
      throw error;
    }
  }

  /** Closes what was opened for a mount that is none. @returns Whether it was left in order. */
  async #undo(record: MountRecord, exported: Export | undefined): Promise<boolean> {
    try {
      await exported?.close();
      return true;
    } catch {
      // Nobody has written to it, but its head says that it is open.
      this.#record(record.volume, { ...record, state: "unmounting" });
      this.#settle(record.volume);
      return false;
    }
  }

  /**
   * Changes or removes the record of a volume. A disk that does not take that is reported: nothing else
   * may stay undone because of it.
   */
  #record(volume: string, record: MountRecord | undefined): void {
    const { records, report, dropCache } = this.#parts;
    try {
      if (record === undefined) {
        dropCache(volume);
        records.remove(volume);
      } else records.put(record);
    } catch (error) {
      if (record?.state === "unmounting") this.#unrecorded.add(volume);
      report(`${volume}: its record stays as it was: ${ebsErrorOf(error).message}`);
    }
  }

  /** The record of a volume, as it is to be. */
  #recordOf(volume: string): MountRecord | undefined {
    const record = this.#parts.records.get(volume);
    return record && this.#unrecorded.has(volume) ? { ...record, state: "unmounting" } : record;
  }

  /** Brings a journal that was left here into the store. */
  async #drain(volume: string): Promise<void> {
    await this.#leaving.drain(volume);
    this.#unrecorded.delete(volume);
  }

  /**
   * Unmounts a volume, and returns once the store has everything. One that is not mounted here is
   * unmounted already. The caller has its turn.
   *
   * @returns Whether there was something to do.
   * @throws {EbsError} `unavailable` if the store does not take everything, or the journal is still in use
   *   here: the same call goes on.
   */
  async unmount(volume: string): Promise<boolean> {
    const { records } = this.#parts;
    const entry = this.#open.get(volume);
    if (entry === undefined) {
      if (records.get(volume) === undefined) return false;
      await this.#drain(volume).catch((error) => {
        throw laterOf(error);
      });
      return true;
    }
    records.put({ ...entry.record, state: "unmounting" });
    try {
      await entry.exported.close();
      if (this.#open.get(volume) === entry) await this.#leaving.done(volume, entry.record);
    } catch (error) {
      this.#settle(volume);
      throw new EbsError("unavailable", `${ebsErrorOf(error).message}; its journal has the rest`);
    } finally {
      if (this.#open.get(volume) === entry) this.#left(volume);
      await this.#leaving.release(volume, entry.claim);
    }
    return true;
  }

  /**
   * Takes a volume from a node that is dead, and leaves it in order, mounted nowhere. The caller has its
   * turn.
   *
   * @throws {EbsError} `unavailable` as long as that node may still have it.
   */
  async take(volume: string): Promise<void> {
    await this.#leaving.take(volume).catch((error) => {
      throw laterOf(error);
    });
  }

  /** Makes a mounted volume larger. @throws {EbsError} */
  async resize(volume: string, bytes: number): Promise<void> {
    await this.#open.get(volume)!.exported.resize(bytes);
  }

  /** Waits for something that waits for the store to have what a volume's journal has. */
  async hurrying<T>(volume: string, wait: () => Promise<T>): Promise<T> {
    const hurry = () => this.#open.get(volume)?.exported.hurry?.();
    hurry();
    // What is written meanwhile is waited for too.
    const timer = setInterval(hurry, HURRY_MS);
    try {
      return await wait();
    } finally {
      clearInterval(timer);
    }
  }

  /** Its claim is another's, or may be soon; or nobody can reach it any more. */
  #lose(entry: OpenMount, reason: string): void {
    const { volume, readOnly } = entry.record;
    if (this.#open.get(volume) !== entry) return;
    const { report } = this.#parts;
    entry.exported.shut();
    // At the end of the node, its claims end while mounts may still be closing. Such a mount was recorded as
    // one that is unmounted, and the next start drained it before it served it again.
    if (this.#isOver) return;
    this.#left(volume);
    report(`${volume}: unmounted, because ${reason}`);
    // A reader leaves nothing that is to be drained.
    this.#record(volume, readOnly ? undefined : { ...entry.record, state: "unmounting" });
    void entry.exported.close().catch((error) => report(`${volume}: ${ebsErrorOf(error).message}`))
      .then(async () => {
        await this.#leaving.release(volume, entry.claim);
        this.#settle(volume);
      });
  }

  #left(volume: string): void {
    this.#open.delete(volume);
    for (const watcher of this.#watchers) watcher.unmounted(volume);
  }

  /**
   * Brings back what the records of this node say. It goes on in the background.
   *
   * @param leaves Leave volumes that were mounted for writing to {@linkcode mountAgain}.
   */
  recover(leaves = false): void {
    const { records, report } = this.#parts;
    for (const { volume, readOnly, state } of records.all(report)) {
      if (!leaves || readOnly || state === "unmounting") this.#settle(volume);
    }
  }

  /** The volumes that this node has for writing, or has recorded so. */
  written(): Set<string> {
    const { records, report } = this.#parts;
    const here = [...records.all(report), ...this.all()];
    return new Set(here.filter(({ readOnly }) => !readOnly).map(({ volume }) => volume));
  }

  /**
   * Mounts a volume that was mounted for writing, as it was. The caller has its turn.
   *
   * @param otherwise How, if this node has no record of it. Without this, one that was being unmounted
   *   stays so.
   * @returns Undefined if there is nothing to mount, or if that can never be.
   * @throws {EbsError}
   */
  async mountAgain(volume: string, otherwise?: MountWish): Promise<Mount | undefined> {
    const { report } = this.#parts;
    const record = this.#recordOf(volume);
    const isOurs = record?.readOnly === false &&
      (otherwise !== undefined || record.state === "mounted");
    const wish = isOurs ? wishOf(record) : otherwise;
    if (wish === undefined) return undefined;
    try {
      const mount = await this.mount(wish);
      report(`${volume}: mounted again at ${mount.uri}`);
      return mount;
    } catch (error) {
      if (!isFinal(error)) throw error;
      report(`${volume}: not mounted again: ${ebsErrorOf(error).message}`);
      return undefined;
    }
  }

  /** Tries until what is recorded is true, or cannot become so any more. */
  #settle(volume: string): void {
    const { turns, report } = this.#parts;
    const attempt = () => turns.run(volume, () => this.#settleOnce(volume));
    this.#tries.begin(volume, attempt, (error) => {
      report(`${volume}: ${ebsErrorOf(error).message}; trying on`);
    });
  }

  async #settleOnce(volume: string): Promise<void> {
    const { report, dropCache } = this.#parts;
    const record = this.#recordOf(volume);
    if (this.#isOver || this.#open.has(volume)) return;
    // A reader had its cache open when its record went.
    if (record === undefined) return dropCache(volume);
    if (record.state === "unmounting") return await this.#drain(volume);
    try {
      const { uri } = await this.#begin(record, record, false);
      report(`${volume}: mounted again at ${uri}`);
    } catch (error) {
      if (!isFinal(error)) throw error;
      report(`${volume}: not mounted again: ${ebsErrorOf(error).message}`);
    }
  }

  /**
   * Ends all mounts, and leaves their records: the next service mounts them again. Their journals keep
   * what the store does not take.
   *
   * All at the same time: mounts waited for tries, and one long drain took all the time that there was.
   */
  async end(): Promise<void> {
    this.#isOver = true;
    const closed = [...this.#open].map(async ([volume, { exported, claim }]) => {
      await exported.close().catch((error) =>
        this.#parts.report(`${volume}: ${ebsErrorOf(error).message}`)
      );
      this.#left(volume);
      await this.#leaving.release(volume, claim);
    });
    await Promise.all([this.#tries.end(), ...closed]);
  }
}

/** The error of a mount that comes too late: nobody would end it. */
function over(volume: string): EbsError {
  return new EbsError("unavailable", `volume ${volume}: this node ends; ask again`);
}

/** An error of whoever lets go of a volume: that it is in use here or elsewhere passes. */
function laterOf(error: unknown): EbsError {
  const failed = ebsErrorOf(error);
  if (failed.code !== "volume_in_use") return failed;
  return new EbsError("unavailable", `${failed.message}; ask again`);
}

function stillWritten({ volume, state }: MountRecord): EbsError {
  const words = state === "mounted"
    ? "is to be mounted on this node again for writing; unmount it first"
    : "is still being unmounted on this node: its journal goes to the store; ask again";
  return new EbsError("unavailable", `volume ${volume} ${words}`);
}
