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
import { type BegunVolume, type CreateWish, Creation } from "./creation.ts";
import { type Attached, type Meant, meantOf } from "./detachment.ts";
import { EbsError, ebsErrorOf } from "./error.ts";
import type { Exclusion } from "./exclusion.ts";
import type { Exporter } from "./exports.ts";
import { checkedNodeName } from "./names.ts";
import { MountRecords } from "./mount_records.ts";
import type { Mount, MountWish } from "./mount.ts";
import { Mounts } from "./mounts.ts";
import { NodeCaches } from "./node_caches.ts";
import type { NodeKey } from "./node_key.ts";
import type { Peers } from "./peers.ts";
import type { WantedVolumes } from "./reconcile/wanted.ts";
import { Recorded } from "./recorded.ts";
import { Resumption } from "./resumption.ts";
import { type Page, Records, type SnapshotRecord, type VolumeRecord } from "./records.ts";
import { sizeIn } from "./schema.ts";
import { type BegunSnapshot, Snapshots } from "./snapshots.ts";
import { Turns } from "./turns.ts";
import { Volumes, type VolumeView } from "./volumes.ts";

/** The parts of an {@linkcode EbsService}. */
export interface ServiceParts {
  /** The name of the node: one token of a subject. */
  readonly node: string;
  /** The store of volumes, which all nodes share. */
  readonly store: Store;
  /** Opens the encrypted ones. */
  readonly key: NodeKey;
  /** The folder of journals of this node. */
  readonly journal: string;
  /**
   * The folder of caches of this node.
   *
   * @default The folder of journals
   */
  readonly cacheDir?: string;
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
  readonly #volumeRecords: Records<VolumeRecord>;
  readonly #volumes: Volumes;
  readonly #snapshots: Snapshots;
  readonly #creation: Creation;
  readonly #attachments: Attachments;
  readonly #recorded: Recorded | undefined;
  readonly #caches: NodeCaches;
  readonly #resumption: Resumption;

  /** Begins, and mounts again what was mounted. @throws {EbsError} `invalid_argument` */
  constructor(parts: ServiceParts) {
    const { node, store, key, journal, exporter, exclusion, files, seam, report } = parts;
    const { cacheDir = journal } = parts;
    this.node = checkedNodeName(node);
    this.#parts = parts;
    this.started = seam.now();
    const folder = `${journal}/.ebs`;
    const { peers, wanted } = parts;
    const volumeRecords = this.#volumeRecords = Records.volumes(store, seam);
    this.#volumes = new Volumes({
      ...{ node, peers, store, key, seam, journal, cacheDir, report, records: volumeRecords },
    });
    this.#attachments = new Attachments({
      ...{ node, peers, exclusion, report, volumes: this.#volumes },
    });
    this.#snapshots = new Snapshots({
      ...{ store, seam, journal, report, records: Records.snapshots(store, seam) },
    });
    this.#creation = new Creation({
      ...{ node, store, key, seam, records: volumeRecords, making: `${folder}/making` },
      ...{ volumes: this.#volumes, snapshots: this.#snapshots, turns: this.#turns },
    });
    const records = new MountRecords(files, `${folder}/mounts`);
    this.#caches = new NodeCaches({
      ...{ files, store, report, folder: cacheDir, turns: this.#turns },
      ...{ mounts: records, volumes: volumeRecords },
    });
    this.mounts = new Mounts({
      ...{ records, exporter, exclusion, seam, report, turns: this.#turns },
      note: (mount) => this.#attachments.mounted(mount),
      forget: (volume) => forgetJournal(store, volume, journal, files),
      dropCache: (volume) => this.#caches.drop(volume),
    });
    this.mounts.watch({ unmounted: (volume) => this.#attachments.unmountedLate(volume) });
    this.#recorded = wanted && new Recorded({
      ...{ node, wanted, peers, report, mounts: this.mounts, turns: this.#turns },
      ...{ volumes: this.#volumes, attachments: this.#attachments },
    });
    // One whose claim was lost is to be mounted again.
    this.mounts.watch({ unmounted: (volume) => this.#recorded?.look(volume) });
    this.mounts.recover(wanted !== undefined);
    void this.#recorded?.start();
    this.#caches.sweep();
    this.#resumption = new Resumption({
      ...{ files, report, folder: `${folder}/begun` },
      finish: {
        volume: (id) => this.#creation.resume(id),
        snapshot: (id) => this.#resumeSnapshot(id),
      },
    });
    this.#resumption.start();
  }

  /** Operations that run or wait. */
  get busy(): number {
    return this.#turns.count;
  }

  /** What it guarantees about writers. */
  get exclusion(): Exclusion["terms"] {
    return this.#parts.exclusion.terms;
  }

  /** Creates a volume: see {@linkcode Creation.create}. */
  create(wish: CreateWish): Promise<VolumeView> {
    return this.#creation.create(wish);
  }

  /** Begins to create a volume, which is made in the background. @throws {EbsError} */
  async beginCreation(wish: CreateWish): Promise<BegunVolume> {
    const begun = await this.#creation.begin(wish);
    if (begun.completion !== undefined) this.#resumption.keep("volume", wish.id, begun.completion);
    return begun;
  }

  /** The other node that is making a volume: see {@linkcode Volumes.makerOf}. */
  makerOf(id: string): Promise<string | undefined> {
    return this.#volumes.makerOf(id);
  }

  /** A volume. @throws {EbsError} `not_found` */
  describe(id: string): Promise<VolumeView> {
    return this.#volumes.describe(id);
  }

  /** A volume, for whoever tells about many: see {@linkcode Volumes.view}. */
  view(id: string): Promise<VolumeView> {
    return this.#volumes.view(id);
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
    const { state, bytes, record: { created: volumeCreated } } = await this.#volumes.describe(
      volume,
    );
    if (state !== "available" && state !== "in-use") {
      throw new EbsError("unavailable", `volume ${volume} is ${state}`);
    }
    const record = await this.#snapshots.reserve({ id, volume, bytes, volumeCreated });
    if (record.state === "completed") return { record, completion: undefined };
    const completion = this.#finishSnapshot(record);
    this.#resumption.keep("snapshot", id, completion);
    return { record, completion };
  }

  #finishSnapshot(record: SnapshotRecord): Promise<SnapshotRecord> {
    const { volume } = record;
    return this.#turns.run(volume, async () => {
      try {
        return await this.mounts.hurrying(volume, () => this.#snapshots.make(record));
      } catch (error) {
        await this.#snapshots.failed(record, error);
        throw error;
      }
    });
  }

  async #resumeSnapshot(id: string): Promise<void> {
    const record = await this.#snapshots.find(id);
    // Whoever wants a copy has no answer, and asks again.
    if (record?.state !== "pending" || record.source !== undefined) return;
    // One that was deleted is there as long as it has snapshots, of which this may be one.
    const created = (await this.#volumeRecords.get(record.volume))?.created;
    const isGone = created === undefined || created !== (record.volumeCreated ?? created);
    // Nobody has asked for a snapshot of the next volume of that id.
    if (isGone) await this.#deleteSnapshot(id, record);
    else await this.#finishSnapshot(record);
  }

  /** Deletes a snapshot. One that is not there is deleted already. */
  deleteSnapshot(id: string): Promise<void> {
    return this.#deleteSnapshot(id);
  }

  #deleteSnapshot(id: string, only?: SnapshotRecord): Promise<void> {
    const sweep = (volume: string) => this.#turns.run(volume, () => this.#volumes.sweep(volume));
    return this.#snapshots.delete(id, sweep, only);
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
      const mount = (one: MountWish) => this.mounts.mount(one);
      const isRecorded = !wish.readOnly && this.#recorded !== undefined;
      return await (isRecorded ? this.#recorded.mount(wish, mount) : mount(wish)).catch(
        async (error) => {
          throw await this.#attachments.refusal(record, ebsErrorOf(error));
        },
      );
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
   * The attachment that a detachment is about, by what is recorded for all nodes; undefined if there is
   * nothing to detach.
   *
   * @throws {EbsError} `not_found`; `invalid_argument` if none is meant, or more than one may be.
   */
  async attachmentOf(volume: string, meant: Meant): Promise<Attached | undefined> {
    return meantOf(volume, await this.#attachmentsOf(volume), meant);
  }

  /** The attachments of a volume: those of its record, and one that is still to be made. */
  async #attachmentsOf(volume: string): Promise<readonly Attached[]> {
    const all: Attached[] = [...(await this.#volumes.describe(volume)).record.attachments];
    const here = this.mounts.get(volume);
    const { node } = this;
    if (here !== undefined && !all.some((one) => one.node === node)) all.push({ ...here, node });
    const isWritten = all.some(({ readOnly }) => !readOnly);
    const wanted = isWritten ? undefined : await this.#recorded?.attachment(volume);
    if (wanted === undefined || all.some((one) => one.node === wanted.node)) return all;
    return [...all, wanted];
  }

  /**
   * Ends an attachment of a volume. One on this node is unmounted, once the store has everything.
   *
   * @param meant Which one. Without anything, the only one.
   * @param isForced Take it from a node that is not there, once that cannot write any more. What only
   *   its journal has is lost.
   * @returns Whether there was something to do.
   * @throws {EbsError} `unavailable` if another node has it, which does not answer, or may still write, or
   *   if the store still lacks something of a writer; `invalid_argument` if none is meant, or more than one
   *   may be.
   */
  detach(volume: string, meant: Meant = {}, isForced = false): Promise<boolean> {
    return this.#turns.run(volume, async () => {
      const target = await this.attachmentOf(volume, meant);
      const node = target?.node ?? meant.node;
      // Of a volume that nobody chose among others, nothing may stay recorded.
      const isAny = Object.values(meant).every((one) => one === undefined);
      const isEvery = isAny && target?.readOnly !== true;
      // Nothing is there of what was named, and what is recorded meanwhile is somebody else's.
      if (isEvery || node !== undefined) {
        await this.#recorded?.detach(volume, isEvery ? undefined : node);
      }
      if (node === undefined || node === this.node) {
        return await this.#unmount(volume) || await this.#endUntold(volume, node, isForced);
      }
      const { record: { attachments } } = await this.#volumes.describe(volume);
      const found = attachments.find((one) => one.node === node);
      if (found === undefined) return await this.#endUntold(volume, node, isForced);
      const isThere = (await this.unreachable([node])).size === 0;
      if (isForced && !isThere) {
        if (!found.readOnly) await this.mounts.take(volume);
        await this.#attachments.abandoned(volume, new Set([node]));
        return true;
      }
      const isKept = this.#recorded !== undefined && !found.readOnly;
      const later = isKept ? "; it is unmounted there once that is back" : "";
      const reason = isThere ? "which must detach it; try again" : `which does not answer${later}`;
      throw new EbsError("unavailable", `volume ${volume} is mounted on ${node}, ${reason}`);
    });
  }

  /**
   * Ends a writer of which no attachment tells: it was lost, and the store may lack what its journal has.
   *
   * @param named The node that was asked about; undefined for any.
   * @returns Whether there was one.
   * @throws {EbsError} `unavailable` unless it is dead, and the volume is to be taken from it.
   */
  async #endUntold(volume: string, named: string | undefined, isForced: boolean): Promise<boolean> {
    const { isWritten, record: { attachments } } = await this.#volumes.describe(volume);
    if (!isWritten || attachments.some(({ readOnly }) => !readOnly)) return false;
    const { node } = this;
    const writer = await this.#recorded?.lastNode(volume) ?? (named === node ? node : undefined);
    if (named !== undefined && writer !== undefined && writer !== named) return false;
    // A node that has nothing of it, but had it, has lost its disk: it is as good as dead.
    const isDead = writer !== undefined &&
      (writer === node || (await this.unreachable([writer])).size > 0);
    if (isForced && isDead) {
      await this.mounts.take(volume);
      return true;
    }
    const words = writer === undefined
      ? "is open for writing, and no node is known to have it; ask again"
      : writer === node
      ? `is open for writing, and node ${node} has nothing of it; detach it by force`
      : `was not left in order by node ${writer}, ` +
        (isDead ? "which does not answer" : "which still has its journal; ask again");
    throw new EbsError("unavailable", `volume ${volume} ${words}`);
  }

  /** Those of some nodes that do not answer. */
  async unreachable(nodes: Iterable<string>): Promise<Set<string>> {
    const { peers, node } = this.#parts;
    const dead = new Set<string>();
    await Promise.all([...new Set(nodes)].map(async (one) => {
      if (one !== node && !await peers.isThere(one)) dead.add(one);
    }));
    return dead;
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
      const swept = this.#caches.end();
      // The loop may be draining what takes long: no mount waits for that.
      await Promise.all([this.#recorded?.close(), this.mounts.end(), this.#resumption.end()]);
      await this.#attachments.settled();
      await swept;
    })();
    await Promise.race([ended, overdue]);
    clearTimeout(timer);
  }
}
