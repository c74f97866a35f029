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

import { isUblkError, type UblkErrorCode } from "../uapi/error.ts";
import type { Seam } from "../volume/seam.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Claim, Exclusion } from "./exclusion.ts";
import type { Access, Export, Exporter } from "./exports.ts";
import type { MountRecord, MountRecords } from "./mount_records.ts";
import { Tries } from "./tries.ts";
import type { Turns } from "./turns.ts";

/** What is to be mounted, and for whom. */
export interface MountWish {
  /** The volume. */
  readonly volume: string;
  /** How it is reached. */
  readonly access: Access;
  /** Writes are refused. */
  readonly readOnly: boolean;
  /**
   * Take it from a node that is dead: see {@linkcode ExportWish.takes}.
   *
   * @default false
   */
  readonly takes?: boolean;
  /** The instance that it is for. */
  readonly instance?: string;
  /** The name that the instance has for it. */
  readonly device?: string;
}

/** A volume that is mounted. */
export interface Mount extends MountWish {
  /** The NBD URI, or the path of the block device. */
  readonly uri: string;
  /** Bytes of the disk. */
  readonly size: number;
  /** When it was mounted, in milliseconds since 1970. */
  readonly time: number;
  /** The generation of its claim; undefined if it is read-only. */
  readonly generation: number | undefined;
}

/** The parts of {@linkcode Mounts}. */
export interface MountParts {
  readonly records: MountRecords;
  readonly exporter: Exporter;
  readonly exclusion: Exclusion;
  readonly turns: Turns;
  readonly seam: Seam;
  /**
   * Lets everybody know of a mount before anybody can use it. If it rejects, there is none: the volume
   * may be being deleted.
   */
  readonly note: (mount: Mount) => Promise<unknown>;
  /** Gives back the room of a volume's journal on this node, if nothing needs it. */
  readonly forget: (volume: string) => Promise<unknown>;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** Takes notice of mounts, as they come and go. It must not throw. */
export interface MountWatcher {
  mounted?(mount: Mount): void;
  unmounted(volume: string): void;
}

interface Entry {
  readonly record: MountRecord;
  readonly exported: Export;
  readonly claim: Claim | undefined;
}

/** How often whoever waits for the store has a journal drained, in milliseconds. */
const HURRY_MS = 200;

/** Errors after which this node has nothing of the volume any more. */
const FINAL: ReadonlySet<UblkErrorCode> = new Set([
  ...["VOLUME_NOT_FOUND", "VOLUME_JOURNAL", "VOLUME_FENCED", "INVALID_ARGUMENT"] as const,
]);

/** The mounts of a node. */
export class Mounts {
  readonly #parts: MountParts;
  readonly #open = new Map<string, Entry>();
  readonly #watchers = new Set<MountWatcher>();
  /** Volumes that are being brought back. */
  readonly #tries = new Tries();
  #isOver = false;

  /** Without any: see {@linkcode recover}. */
  constructor(parts: MountParts) {
    this.#parts = parts;
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
   * @throws {EbsError} `volume_in_use` if it is mounted in another way, or elsewhere.
   */
  async mount(wish: MountWish): Promise<Mount> {
    const there = this.#open.get(wish.volume);
    if (there !== undefined) return sameMount(there, wish);
    const before = this.#parts.records.get(wish.volume);
    const time = this.#parts.seam.now();
    const { takes = false, ...rest } = wish;
    const record: MountRecord = { ...rest, state: "mounted", port: before?.port ?? 0, time };
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
    try {
      if (!readOnly) claim = await exclusion.claim(volume);
      records.put(record);
      exported = await exporter.open({ ...record, takes });
      const entry: Entry = { record: { ...record, port: exported.port }, exported, claim };
      if (entry.record.port !== record.port) records.put(entry.record);
      const mount = mountOf(entry);
      await this.#parts.note(mount);
      this.#open.set(volume, entry);
      void claim?.lost.then((reason) => this.#lose(entry, reason));
      for (const watcher of this.#watchers) watcher.mounted?.(mount);
      return mount;
    } catch (error) {
      const isLeft = await this.#undo(record, exported);
      // If its journal has something, that is still to be brought into the store.
      if (isLeft && (before === undefined || isFinal(error))) records.remove(volume);
      else if (isLeft) records.put(before!);
      await this.#release(volume, claim);
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
      this.#parts.records.put({ ...record, state: "unmounting" });
      this.#settle(record.volume);
      return false;
    }
  }

  /**
   * Unmounts a volume, and returns once the store has everything. One that is not mounted here is
   * unmounted already. The caller has its turn.
   *
   * @returns Whether there was something to do.
   * @throws {EbsError} `unavailable` if the store does not take everything: the same call goes on.
   */
  async unmount(volume: string): Promise<boolean> {
    const { records } = this.#parts;
    const entry = this.#open.get(volume);
    if (entry === undefined) {
      if (records.get(volume) === undefined) return false;
      await this.#drain(volume);
      return true;
    }
    records.put({ ...entry.record, state: "unmounting" });
    try {
      await entry.exported.close();
      if (this.#open.get(volume) === entry) await this.#done(volume, entry.record);
    } catch (error) {
      this.#settle(volume);
      throw new EbsError("unavailable", `${ebsErrorOf(error).message}; its journal has the rest`);
    } finally {
      if (this.#open.get(volume) === entry) this.#left(volume);
      await this.#release(volume, entry.claim);
    }
    return true;
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

  /** Brings a journal that was left here into the store. */
  async #drain(volume: string): Promise<void> {
    const { exporter, exclusion, report } = this.#parts;
    let claim: Claim | undefined;
    try {
      claim = await exclusion.claim(volume);
      await exporter.drain(volume);
    } catch (error) {
      if (!isFinal(error)) throw ebsErrorOf(error);
      report(`${volume}: nothing is left to do here: ${ebsErrorOf(error).message}`);
    } finally {
      await this.#release(volume, claim);
    }
    await this.#done(volume);
  }

  /** Gives a claim up. One that cannot be given up runs out by itself. */
  async #release(volume: string, claim: Claim | undefined): Promise<void> {
    await claim?.release().catch((error) => {
      this.#parts.report(`${volume}: its claim runs out later: ${ebsErrorOf(error).message}`);
    });
  }

  /** This node has nothing of a volume any more. */
  async #done(volume: string, record?: MountRecord): Promise<void> {
    const { forget, records, report } = this.#parts;
    // A reader uses no journal.
    if (record?.readOnly !== true) {
      await forget(volume).catch((error) => {
        report(`${volume}: its journal is still there: ${ebsErrorOf(error).message}`);
      });
    }
    records.remove(volume);
  }

  /** The claim is another's, or may be soon. */
  #lose(entry: Entry, reason: string): void {
    const { volume } = entry.record;
    if (this.#open.get(volume) !== entry) return;
    const { records, report } = this.#parts;
    entry.exported.shut();
    this.#left(volume);
    report(`${volume}: unmounted, because its claim was lost: ${reason}`);
    records.put({ ...entry.record, state: "unmounting" });
    void entry.exported.close().catch((error) => report(`${volume}: ${ebsErrorOf(error).message}`))
      .then(async () => {
        await this.#release(volume, entry.claim);
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
    const { records, report } = this.#parts;
    const record = records.get(volume);
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
    const { records, report } = this.#parts;
    const record = records.get(volume);
    if (record === undefined || this.#isOver || this.#open.has(volume)) return;
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
   */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#tries.end();
    await Promise.all([...this.#open].map(async ([volume, { exported, claim }]) => {
      await exported.close().catch((error) =>
        this.#parts.report(`${volume}: ${ebsErrorOf(error).message}`)
      );
      this.#left(volume);
      await this.#release(volume, claim);
    }));
  }
}

function mountOf({ record, exported, claim }: Entry): Mount {
  const { volume, access, readOnly, instance, device, time } = record;
  const { uri, size } = exported;
  return {
    ...{ volume, access, readOnly, instance, device, time, uri, size },
    generation: claim?.generation,
  };
}

function wishOf({ volume, access, readOnly, instance, device }: MountRecord): MountWish {
  return { volume, access, readOnly, instance, device };
}

function sameMount(entry: Entry, { volume, access, readOnly, instance }: MountWish): Mount {
  const { record } = entry;
  const isSame = record.access === access && record.readOnly === readOnly &&
    (record.instance ?? instance) === (instance ?? record.instance);
  if (isSame) return mountOf(entry);
  const how = `${record.readOnly ? "read-only" : "for writing"}, by ${record.access}` +
    (record.instance === undefined ? "" : `, for ${record.instance}`);
  throw new EbsError("volume_in_use", `volume ${volume} is mounted on this node already: ${how}`);
}

/** Whether an error says that this node has nothing of the volume. */
function isFinal(error: unknown): boolean {
  const cause = error instanceof EbsError && error.cause !== undefined ? error.cause : error;
  if (isUblkError(cause)) return FINAL.has(cause.code);
  return cause instanceof EbsError && cause.code === "not_found";
}
