/**
 * The service of a node: everything that messages ask for, whatever their dialect. Operations on one
 * volume take turns.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import type { Store } from "../store/store.ts";
import type { Seam } from "../volume/seam.ts";
import { forgetJournal } from "../volume/forget_journal.ts";
import { waitForStore } from "../volume/wait_for_store.ts";
import { Attachments } from "./attachments.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Exclusion } from "./exclusion.ts";
import type { Exporter } from "./exports.ts";
import { checkedNodeName } from "./names.ts";
import { MountRecords } from "./mount_records.ts";
import { type Mount, Mounts, type MountWish } from "./mounts.ts";
import type { Peers } from "./peers.ts";
import type { WantedVolumes } from "./reconcile/wanted.ts";
import { Recorded } from "./recorded.ts";
import { type Page, Records, type SnapshotRecord, type VolumeRecord } from "./records.ts";
import { sizeIn } from "./schema.ts";
import { Snapshots } from "./snapshots.ts";
import { Turns } from "./turns.ts";
import { type CreateWish, Volumes, type VolumeView } from "./volumes.ts";

/** The parts of an {@linkcode EbsService}. */
export interface ServiceParts {
  /** The name of the node: one token of a subject. */
  readonly node: string;
  /** The store of volumes, which all nodes share. */
  readonly store: Store;
  /** The folder of journals of this node. */
  readonly journal: string;
  /** Makes volumes reachable. */
  readonly exporter: Exporter;
  /** Decides who may have them. */
  readonly exclusion: Exclusion;
  /** The other nodes. */
  readonly peers: Peers;
  /**
   * What is recorded of volumes for all nodes, which this one makes so of its own.
   *
   * @default Nothing: mounts are remembered by this node alone
   */
  readonly wanted?: WantedVolumes;
  /** The files of this machine. */
  readonly files: Files;
  /** Time and randomness. */
  readonly seam: Seam;
  /** Takes a line for the log. */
  readonly report: (line: string) => void;
}

/** A snapshot that has begun. */
export interface BegunSnapshot {
  readonly record: SnapshotRecord;
  /** Resolves once it is complete; undefined if it was before. */
  readonly completion: Promise<SnapshotRecord> | undefined;
}

/** A volume whose creation has begun. */
export interface BegunVolume {
  readonly view: VolumeView;
  /** Resolves once it is complete; undefined if it was before. */
  readonly completion: Promise<VolumeView> | undefined;
}

/** How long the end waits for the store, in milliseconds. */
const END_MS = 20_000;

/**
 * The service of a node. Its methods reject with errors of their own, of the volume library and of
 * stores; `ebsErrorOf()` makes a code of each.
 */
export class EbsService {
  /** The name of the node. */
  readonly node: string;
  /** The volumes that are mounted here. */
  readonly mounts: Mounts;
  /** When the service began, in milliseconds since 1970. */
  readonly started: number;
  readonly #parts: ServiceParts;
  readonly #turns = new Turns();
  readonly #volumes: Volumes;
  readonly #snapshots: Snapshots;
  readonly #attachments: Attachments;
  readonly #recorded: Recorded | undefined;

  /** Begins, and mounts again what was mounted. @throws {EbsError} `invalid_argument` */
  constructor(parts: ServiceParts) {
    const { node, store, journal, exporter, exclusion, files, seam, report } = parts;
    this.node = checkedNodeName(node);
    this.#parts = parts;
    this.started = seam.now();
    const folder = `${journal}/.ebs`;
    this.#volumes = new Volumes({
      ...{ node, peers: parts.peers, store, seam, journal, making: `${folder}/making` },
      records: Records.volumes(store, seam),
    });
    this.#attachments = new Attachments(node, this.#volumes, report);
    this.#snapshots = new Snapshots({
      ...{ store, seam, journal, records: Records.snapshots(store, seam) },
    });
    const records = new MountRecords(files, `${folder}/mounts`);
    this.mounts = new Mounts({
      ...{ records, exporter, exclusion, seam, report, turns: this.#turns },
      note: (mount) => this.#attachments.mounted(mount),
      forget: (volume) => forgetJournal(store, volume, journal, files),
    });
    this.mounts.watch({ unmounted: (volume) => this.#attachments.unmountedLate(volume) });
    const { wanted, peers } = parts;
    this.#recorded = wanted && new Recorded({
      ...{ node, wanted, peers, report, mounts: this.mounts, turns: this.#turns },
      ...{ volumes: this.#volumes, attachments: this.#attachments },
    });
    // One whose claim was lost is to be mounted again.
    this.mounts.watch({ unmounted: (volume) => this.#recorded?.look(volume) });
    this.mounts.recover(wanted !== undefined);
    void this.#recorded?.start();
  }

  /** Operations that run or wait. */
  get busy(): number {
    return this.#turns.count;
  }

  /** What it guarantees about writers. */
  get exclusion(): Exclusion["terms"] {
    return this.#parts.exclusion.terms;
  }

  /**
   * Creates a volume. Called again with the same wish, it returns what there is.
   *
   * @throws {EbsError} `already_exists`, `invalid_argument`; `not_found` if there is no such snapshot.
   */
  async create(wish: CreateWish): Promise<VolumeView> {
    const { view, completion } = await this.beginCreation(wish);
    return await completion ?? view;
  }

  /** Begins to create a volume, which is made in the background. @throws {EbsError} */
  async beginCreation(wish: CreateWish): Promise<BegunVolume> {
    const { id, bytes, source } = wish;
    if (source !== undefined) await this.#checkSource(source, bytes);
    const record = await this.#turns.run(id, () => this.#volumes.begin(wish));
    if (record.state !== "creating") {
      return { view: await this.#volumes.describe(id), completion: undefined };
    }
    const completion = this.#turns.run(id, () => this.#volumes.finish(wish));
    const view = { id, bytes, state: "creating", isWritten: false, record } as const;
    return { view, completion };
  }

  async #checkSource({ volume, snapshot }: NonNullable<CreateWish["source"]>, bytes: number) {
    const found = await this.#snapshots.describe(snapshot);
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

  /** A volume. @throws {EbsError} `not_found` */
  describe(id: string): Promise<VolumeView> {
    return this.#volumes.describe(id);
  }

  /** A page of volumes after a token. */
  listVolumes(after: string, most: number): Promise<Page<VolumeRecord>> {
    return this.#volumes.page(after, most);
  }

  /**
   * Makes a volume larger, also while it is mounted here.
   *
   * @param required The least bytes. @param limit The most; 0 for any.
   * @throws {EbsError} `invalid_argument` if it would shrink; `volume_in_use` if another node has it.
   */
  expand(id: string, required: number, limit: number): Promise<VolumeView> {
    const bytes = sizeIn(required, limit);
    return this.#turns.run(id, async () => {
      if (await this.#volumes.mayExpand(id, bytes)) {
        const mount = this.mounts.get(id);
        if (mount === undefined || mount.readOnly) await this.#volumes.expand(id, bytes);
        else await this.mounts.resize(id, bytes);
      }
      return await this.#volumes.describe(id);
    });
  }

  /**
   * Deletes a volume. One that is not there is deleted already.
   *
   * @param unmounts Unmount it first, if it is mounted here.
   * @throws {EbsError} `volume_in_use`
   */
  delete(id: string, unmounts = false): Promise<void> {
    return this.#turns.run(id, async () => {
      if (unmounts) {
        await this.#recorded?.detach(id);
        await this.#unmount(id);
      }
      if (this.mounts.get(id) !== undefined) {
        const reason = `is mounted on ${this.node}; unmount it first`;
        throw new EbsError("volume_in_use", `volume ${id} ${reason}`);
      }
      await (this.#recorded ?? this.#volumes).delete(id);
    });
  }

  /** Keeps a document with a volume, for whoever gave it. @throws {EbsError} `not_found` */
  configure(id: string, config: unknown): Promise<VolumeRecord> {
    return this.#turns.run(id, () => this.#volumes.note(id, (record) => ({ ...record, config })));
  }

  /**
   * Begins a snapshot of what was answered before. It is made in the background.
   *
   * @throws {EbsError} `not_found`; `already_exists` if it is another volume's.
   */
  async beginSnapshot(id: string, volume: string): Promise<BegunSnapshot> {
    const { state } = await this.#volumes.describe(volume);
    if (state !== "available" && state !== "in-use") {
      throw new EbsError("unavailable", `volume ${volume} is ${state}`);
    }
    const record = await this.#snapshots.reserve(id, volume);
    if (record.state === "completed") return { record, completion: undefined };
    const completion = this.#turns.run(volume, async () => {
      try {
        return await this.mounts.hurrying(volume, () => this.#snapshots.make(record));
      } catch (error) {
        // Otherwise the same request goes on with it.
        if (ebsErrorOf(error).code !== "unavailable") await this.#snapshots.giveUp(id);
        throw error;
      }
    });
    return { record, completion };
  }

  /** Deletes a snapshot. One that is not there is deleted already. */
  async deleteSnapshot(id: string): Promise<void> {
    const volume = await this.#snapshots.delete(id);
    if (volume !== undefined) await this.#turns.run(volume, () => this.#volumes.sweep(volume));
  }

  /** Gives a snapshot a second id: see {@linkcode Snapshots.copy}. */
  copySnapshot(from: string, to: string, volume: string): Promise<SnapshotRecord> {
    return this.#turns.run(volume, () => this.#snapshots.copy(from, to, volume));
  }

  /** A snapshot. @throws {EbsError} `not_found` */
  describeSnapshot(id: string): Promise<SnapshotRecord> {
    return this.#snapshots.describe(id);
  }

  /** A page of snapshots after a token. */
  listSnapshots(after: string, most: number): Promise<Page<SnapshotRecord>> {
    return this.#snapshots.page(after, most);
  }

  /** Mounts a volume on this node: see {@linkcode Mounts.mount}. */
  mount(wish: MountWish): Promise<Mount> {
    return this.#turns.run(wish.volume, async () => {
      const { state, record } = await this.#volumes.describe(wish.volume);
      if (state !== "available" && state !== "in-use") {
        throw new EbsError("unavailable", `volume ${wish.volume} is ${state}`);
      }
      const mount = () => this.mounts.mount(wish);
      const isRecorded = !wish.readOnly && this.#recorded !== undefined;
      return await (isRecorded ? this.#recorded.mount(wish, mount) : mount()).catch((error) => {
        throw this.#attachments.refusal(record, ebsErrorOf(error));
      });
    });
  }

  /** Unmounts a volume from this node: see {@linkcode Mounts.unmount}. */
  unmount(volume: string): Promise<boolean> {
    return this.#turns.run(volume, async () => {
      await this.#recorded?.detach(volume, this.node);
      return await this.#unmount(volume);
    });
  }

  /**
   * Unmounts a volume from this node, and finds it mounted nowhere.
   *
   * @returns Whether there was something to do.
   * @throws {EbsError} `unavailable` if another node has it, which does not answer.
   */
  detach(volume: string): Promise<boolean> {
    return this.#turns.run(volume, async () => {
      // A reader has a mount beside what is recorded.
      const isReader = this.mounts.get(volume)?.readOnly === true;
      await this.#recorded?.detach(volume, isReader ? this.node : undefined);
      if (await this.#unmount(volume)) return true;
      const { record: { attachments } } = await this.#volumes.describe(volume);
      if (attachments.length === 0) return false;
      const nodes = attachments.map(({ node }) => node).join(", ");
      const later = this.#recorded === undefined ? "" : "; it is unmounted there once that is back";
      const reason = `is mounted on ${nodes}, which does not answer${later}`;
      throw new EbsError("unavailable", `volume ${volume} ${reason}`);
    });
  }

  async #unmount(volume: string): Promise<boolean> {
    const wasMounted = await this.mounts.unmount(volume);
    await this.#attachments.unmounted(volume);
    return wasMounted;
  }

  /**
   * Waits until the store has what was written to a volume before.
   *
   * @throws {EbsError} `unavailable` if it is mounted on a node that does not answer.
   */
  async sync(volume: string): Promise<void> {
    const { store, journal, files } = this.#parts;
    if (this.mounts.get(volume)?.readOnly === false) {
      const wait = () => waitForStore(store, volume, { journal, files });
      return await this.mounts.hurrying(volume, wait);
    }
    const { isWritten } = await this.describe(volume);
    if (!isWritten) return;
    throw new EbsError("unavailable", `the node that has volume ${volume} does not answer`);
  }

  /** Ends all mounts. The next service on this node begins with them. */
  async end(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const overdue = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#parts.report(
          "the store does not take everything in time; the journals have the rest",
        );
        resolve();
      }, END_MS);
    });
    const ended = (async () => {
      await this.#recorded?.close();
      await this.mounts.end();
      await this.#attachments.settled();
    })();
    await Promise.race([ended, overdue]);
    clearTimeout(timer);
  }
}
