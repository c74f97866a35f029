/**
 * A simulated server of a volume: the engine and the drain of a real one, whose requests,
 * completions and store calls come in an order that dice decide. Its clients are in `clients.ts`.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import type { StoreFaults } from "../../store/faults.ts";
import { FaultyStore } from "../../store/faulty.ts";
import { assert } from "../../uapi/error.ts";
import { attachEngine, chunkOpener, loadMaps } from "../../volume/attach.ts";
import { Drainer } from "../../volume/drain/drainer.ts";
import type { MadeCommit } from "../../volume/drain/drainer.ts";
import { JournalSource } from "../../volume/drain/source.ts";
import type { VolumeEngine } from "../../volume/engine.ts";
import { openSegments } from "../../volume/journal/files.ts";
import { Lease } from "../../volume/lease.ts";
import type { BlockMap } from "../../volume/map/block_map.ts";
import { Marks } from "../../volume/marks/marks.ts";
import { ownerOfChunk } from "../../volume/owners.ts";
import { pieceBytes } from "../../volume/format/compression.ts";
import { FileChunks } from "../../volume/read/file_chunks.ts";
import { Bases } from "../../volume/space/bases.ts";
import type { Moves } from "../../volume/space/moves.ts";
import { JournalOpener } from "../../volume/seal/journal.ts";
import { type Taken, takeVolume } from "../../volume/take.ts";
import { Clients, type MayFail } from "./clients.ts";
import { BrokenPromise, type VolumeHistory } from "./history.ts";
import { type SimCache, simCache, type SimCacheOptions } from "./sim_cache.ts";
import { SimDrain } from "./sim_drain.ts";
import { checkSnapshots, SimSpace } from "./sim_space.ts";
import { marksIn, SimMarks } from "./sim_marks.ts";
import { SimHost } from "./sim_host.ts";
import { JOURNAL, MOST_BLOCKS, NAME, settle, type World } from "./world.ts";

const SIZES = { batches: 3, openChunks: 2, takenAtOnce: 3 };
const MOST_TURNS = 10_000;
/** One new size in so many takes the store longer than the engine's thread waits. */
const GIVEN_UP = 6;
/** The turns that it waits at most, and the commits that may fail meanwhile. */
const PATIENCE = 200;
const FAILURES = 2;

/** How a server is started, and what it may do. */
export interface ServerOptions {
  /** The journal's folder. */
  readonly folder?: string;
  /** Attaches without the journal. */
  readonly withoutJournal?: boolean;
  /** Does not wait for another server's lease. */
  readonly force?: boolean;
  /** Waits for another server's lease. @default Time passes at once */
  readonly pause?: (ms: number) => Promise<void>;
  /** Faults of the store, from the start. */
  readonly storeFaults?: StoreFaults;
  /** Calls to the store wait from the start, to be resumed by the world. */
  readonly pauses?: boolean;
  /** A full journal fails writes. */
  readonly failsWhenFull?: boolean;
  /** How long it makes writes wait, in microseconds. @default {Infinity} */
  readonly waitUs?: number;
  /** Reads chunks through a cache. */
  readonly cache?: SimCacheOptions;
  /** Whether a request may fail so; none may by default. */
  readonly mayFail?: MayFail;
  /** Whether a commit may fail so; none may by default. */
  readonly mayFailCommit?: (error: unknown) => boolean;
  /** Compares the snapshots with what they were. @default true */
  readonly checksSnapshots?: boolean;
  /** Called whenever a commit has succeeded. */
  readonly onCommit?: () => void;
}

/** One server of a world. */
export class Server extends Clients {
  readonly engine: VolumeEngine;
  readonly taken: Taken;
  readonly store: FaultyStore;
  /** A commit has failed because somebody else has the volume. */
  isFenced = false;
  /** Lines that the engine has reported. */
  readonly reports: string[];
  readonly #world: World;
  readonly #options: ServerOptions;
  readonly #cache: SimCache | undefined;
  readonly #drain: SimDrain;
  readonly #drainer: Drainer;
  readonly #lease: Lease;
  #renewal: Promise<void> | undefined;
  readonly #bases: Bases;
  readonly #space: SimSpace;
  readonly #marks: Marks;
  readonly #asking: SimMarks;
  #commit: Promise<void> | undefined;
  #failedCommits = 0;
  #failure: unknown;
  /** The size that the disk is to have, until the store has it. */
  #wanted: number | undefined;
  /** The smaller size that the disk is to have once the store knows what was discarded for it. */
  #aim: number | undefined;

  private constructor(world: World, options: ServerOptions, parts: {
    host: SimHost;
    drain: SimDrain;
    drainer: Drainer;
    engine: VolumeEngine;
    chunks: BlockMap;
    taken: Taken;
    lease: Lease;
    store: FaultyStore;
    reports: string[];
    cache: SimCache | undefined;
    marks: Marks;
  }) {
    const { size, blockSize } = parts.taken.committed.manifest;
    super(world, parts.host, size / blockSize, options.mayFail);
    this.#world = world;
    this.#options = options;
    this.taken = parts.taken;
    this.#lease = parts.lease;
    this.store = parts.store;
    this.#drain = parts.drain;
    this.#drainer = parts.drainer;
    this.engine = parts.engine;
    this.reports = parts.reports;
    this.#cache = parts.cache;
    this.#bases = new Bases(parts.taken.committed.head);
    this.#space = new SimSpace(world, {
      ...{
        store: world.opened(parts.store),
        bases: this.#bases,
        epoch: parts.taken.committed.epoch,
      },
      quietAfter: () => parts.drain.quietAfter,
      chunks: parts.chunks,
      history: () => this.history,
      mayFail: (error) => options.mayFailCommit?.(error) ?? false,
    });
    this.#marks = parts.marks;
    this.#asking = new SimMarks(world, {
      ...{ marks: parts.marks, history: () => this.history },
      batchEnd: () => this.host.batchEnd(),
      mayAnswer: () => !this.hasLost && parts.taken.committed.epoch === world.epoch,
    });
  }

  /** Attaches the volume. */
  static async start(world: World, options: ServerOptions = {}): Promise<Server> {
    const { folder = JOURNAL, withoutJournal = false, failsWhenFull = false } = options;
    const { dice, habits, history } = world;
    const { blockSize } = habits;
    const files = new CrashableProcess(world.machine);
    const direct = await world.store(files);
    let pauses = options.pauses ?? false;
    const store = new FaultyStore(direct, {
      ...{ dice, faults: options.storeFaults },
      pause: () => {
        if (pauses) return new Promise<void>((resolve) => void world.paused.push(resolve));
      },
    });
    const opened = world.opened(store);
    const { force = false, pause = (ms) => Promise.resolve(world.pass(ms)) } = options;
    const lease = new Lease(world.leaseMs, world.seam.elapsed);
    const taken = await takeVolume({
      ...{ store: opened, name: NAME, files, folder, withoutJournal, host: "simulation" },
      ...{ force, lease, pause },
      ...{ segmentSize: habits.segmentSize, segments: habits.segments, seam: world.seam },
    });
    const { committed, identity, paths, from } = taken;
    if (committed.epoch <= world.epoch) throw new BrokenPromise("an epoch has two attachments");
    world.epoch = committed.epoch;
    const { checksSnapshots = true } = options;
    // Whose entry is there is checked and forgotten; the others must have their marks.
    if (checksSnapshots) await checkSnapshots(world);
    const left = marksIn(world, folder, identity);
    for (const [name, { id }] of world.marked) {
      if (left.has(id)) continue;
      if (withoutJournal) world.marked.delete(name);
      else if (checksSnapshots) {
        throw new BrokenPromise(`the snapshot ${name} is gone`);
      }
    }
    const maps = await loadMaps(committed);
    const host = new SimHost(dice, habits.requests);
    const drain = new SimDrain(history);
    const reports: string[] = [];
    const report = (words: string) => {
      reports.push(words);
      world.note(words);
    };
    const cache = options.cache === undefined
      ? undefined
      : simCache(world, options.cache, { files, store, committed, host, report });
    const piece = pieceBytes(committed.manifest);
    const packed = piece === 0 ? undefined : { piece, allocate: host.allocate };
    const open = chunkOpener({
      ...{ files, fdOf: host.fdOf, key: world.dataKey, piece },
      pathOf: (name) => direct.localPath(name),
      ownerOf: (chunk) => ownerOfChunk(committed.names, committed.manifest, chunk),
    });
    const { engine, end, drainFrom } = attachEngine({
      ...{ identity, maps, from, drain, report, failsWhenFull, lease, waitUs: options.waitUs },
      ...{ isDurableInStore: habits.isDurableInStore, writesDurably: files.hasCheapDurability() },
      ...{ fdOf: host.fdOf, allocate: host.allocate, epoch: committed.epoch },
      journal: openSegments(files, paths, identity.blockSize),
      chunks: cache?.chunks ?? new FileChunks(open, SIZES.openChunks, blockSize, packed),
      words: `journal ${folder}`,
      key: world.dataKey,
      sizes: { ...SIZES, batchData: habits.batchBlocks * blockSize, pieces: habits.pieces },
    });
    drain.recovered(end);
    const drained = openSegments(files, paths, identity.blockSize);
    const marks = new Marks({
      ...{ files, folder, identity, committed, seam: world.seam, report, journal: drained, lease },
      ...{ recovered: end, published: () => drain, hasJournalFailed: () => drain.hasJournalFailed },
      isDurableInStore: habits.isDurableInStore,
    });
    const drainer = new Drainer({
      ...{ committed, written: () => drain.written, marks },
      source: new JournalSource({
        ...{ files: drained, blockSize, size: identity.size },
        ...{ from: drainFrom, window: new Uint8Array(identity.size), words: "journal" },
        opener: new JournalOpener(world.dataKey, identity, "journal"),
      }),
      data: new Uint8Array((20 + habits.batchBlocks) * blockSize),
    });
    host.serve(engine);
    pauses ||= habits.pauses;
    return new Server(world, options, {
      ...{ host, drain, drainer, engine, taken, lease, store, reports, cache, marks },
      chunks: maps.chunks,
    });
  }

  /** How often the engine has asked the drain to hurry. */
  get hurries(): number {
    return this.#drain.hurries;
  }

  /** Its clients' knowledge of the volume. */
  override get history(): VolumeHistory {
    return this.#drain.history;
  }

  set history(history: VolumeHistory) {
    this.#drain.history = history;
  }

  /** Does something, as the dice decide. */
  async act(): Promise<void> {
    const { dice, habits, leaseMs } = this.#world;
    if (leaseMs > 0 && dice.draw(8) === 0) this.#world.pass(dice.draw(leaseMs / 4));
    this.#renew();
    switch (dice.draw(11)) {
      case 10:
        // Each is compared with what it should be at every start that follows.
        if (dice.draw(3) === 0) this.#asking.act();
        break;
      case 0:
      case 1:
      case 2:
        if (this.host.hasRoom) this.request(this.#aim);
        break;
      case 3:
      case 4:
        this.host.step();
        break;
      case 5:
        this.host.batchEnd();
        break;
      case 6:
        if (dice.draw(habits.drains) === 0) this.begin();
        break;
      case 7:
        this.#world.resume();
        break;
      case 8:
        if (dice.draw(habits.resizes) === 0) await this.#changeSize();
        break;
      case 9:
        if (dice.draw(habits.drains) === 0) this.#space.act();
        break;
    }
    await this.#settle();
  }

  /** Does what has to do with data that is moved, or comes between: most of it comes to its end. */
  async actOnMoves(): Promise<void> {
    const { dice } = this.#world;
    switch (dice.draw(4)) {
      case 0:
        this.begin();
        break;
      case 1:
        this.#space.collect();
        break;
      case 2:
        await this.#changeSize();
        break;
      case 3:
        if (this.host.hasRoom) this.read(0, this.blocks);
        break;
    }
    for (let turn = dice.draw(60); turn > 0; turn--) {
      this.host.batchEnd();
      this.host.step();
      this.#world.resume();
      await this.#settle();
    }
  }

  /** Renews the lease if it is time, beside commits. */
  #renew(): void {
    if (this.#world.leaseMs === 0 || this.#renewal !== undefined || this.isFenced) return;
    if (this.#lease.dueMs > 0) return;
    this.#renewal = this.taken.committed.renew().then(() => this.#renewal = undefined, (error) => {
      this.#renewal = undefined;
      this.#world.note(`a renewal failed: ${error.message}`);
      if (error.code === "VOLUME_FENCED") this.isFenced = true;
      if (!this.#options.mayFailCommit?.(error)) this.#failure = error;
    });
  }

  async #settle(): Promise<void> {
    await settle();
    if (this.#cache?.hasCome()) this.engine.woken();
    this.#failure ??= this.#space.failure;
    if (this.#marks.failure !== undefined) this.#fail(this.#marks.failure);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The journal could not be made durable for a snapshot: nothing may be written any more. */
  #fail(error: unknown): void {
    if (!this.#options.mayFailCommit?.(error)) throw error;
    this.#drain.hasFailed = true;
    this.engine.woken();
    this.hasFailed = true;
  }

  /** Begins a commit, unless one is being made. One that was decided comes first, then a new size. */
  begin(): void {
    if (this.#commit !== undefined || this.isFenced) return;
    if (this.#wanted === undefined && this.#drain.made !== undefined) return;
    const { owesCommit } = this.#drainer;
    const mayMove = !owesCommit && this.#wanted === undefined;
    const moves = mayMove ? this.#space.pending.take() : undefined;
    const commit = owesCommit
      ? this.#finishCommit()
      : moves !== undefined
      ? this.#commitMoves(moves)
      : this.#wanted === undefined
      ? this.#commitBatches()
      : this.#commitSize();
    this.#commit = commit.then((hasCommitted) => {
      this.#commit = undefined;
      if (hasCommitted) this.#options.onCommit?.();
    }, (error) => {
      this.#commit = undefined;
      this.#failedCommits++;
      this.#world.note(`a commit failed: ${error.message}`);
      if (error.code === "VOLUME_FENCED") this.isFenced = true;
      if (!this.#options.mayFailCommit?.(error)) this.#failure = error;
    });
  }

  async #finishCommit(): Promise<boolean> {
    this.#handOver((await this.#drainer.finish())!);
    return true;
  }

  async #commitBatches(): Promise<boolean> {
    const made = await this.#drainer.commit(this.#drain.position, this.#drain.publishedAt);
    if (made !== undefined) this.#handOver(made);
    return made !== undefined;
  }

  async #commitMoves(moves: Moves): Promise<boolean> {
    this.#handOver(await this.#drainer.move(moves));
    this.#world.note("data was moved");
    return true;
  }

  #handOver(made: MadeCommit): void {
    this.#bases.handedOver(this.taken.committed.head, made.extents);
    this.#space.pending.changed(made.extents);
    this.#drain.made = made;
    if (made.end !== undefined) this.#drain.stored(made.end.position);
  }

  async #commitSize(): Promise<boolean> {
    const blocks = this.#wanted!;
    await this.#drainer.resize(blocks * this.#world.habits.blockSize);
    this.#bases.replaced(this.taken.committed.head);
    if (this.#wanted === blocks) this.#wanted = undefined;
    this.history.sizes = new Set([blocks, this.#wanted ?? blocks]);
    return true;
  }

  /** Makes the disk larger; or discards the end of it, and later makes it smaller. */
  async #changeSize(): Promise<void> {
    const { dice } = this.#world;
    if (this.#aim !== undefined) {
      const aim = this.#aim;
      if (dice.draw(8) === 0) this.#aim = undefined;
      if (await this.resize(aim)) this.#aim = undefined;
      return;
    }
    const blocks = 1 + dice.draw(MOST_BLOCKS);
    const isSmaller = blocks < this.blocks;
    if (!isSmaller || dice.draw(4) === 0) await this.resize(blocks);
    else if (this.host.hasRoom && this.discardFrom(blocks)) this.#aim = blocks;
  }

  /**
   * Gives the disk another size. As in a served volume, the engine's thread waits for the drain, and
   * does nothing meanwhile. It gives up if that takes too long.
   *
   * @returns Whether the disk has the new size.
   */
  async resize(blocks: number): Promise<boolean> {
    const before = this.blocks;
    if (this.isFenced) return false;
    const refusal = this.engine.resize(blocks);
    if (refusal !== undefined) {
      if (blocks >= before) throw new BrokenPromise(`the disk cannot grow: ${refusal.reason}`);
      return false;
    }
    this.#world.note(`${before} blocks become ${blocks}`);
    this.history.resizes(blocks);
    this.#wanted = blocks;
    const { dice } = this.#world;
    const patience = dice.draw(GIVEN_UP) === 0 ? dice.draw(10) : PATIENCE;
    const failed = this.#failedCommits + FAILURES;
    for (let turn = 0; this.#wanted !== undefined; turn++) {
      if (turn === patience || this.isFenced || this.#failedCommits >= failed) {
        // Nobody knows which size it has: what both have is sure.
        this.blocks = Math.min(before, blocks);
        if (this.host.hasRoom) this.readBeyond(Math.max(before, blocks));
        return false;
      }
      this.begin();
      this.#world.paused.shift()?.();
      await this.#settle();
    }
    this.blocks = blocks;
    return true;
  }

  /** Commits what the journal has, as far as one commit goes, and takes it over. */
  async drain(): Promise<void> {
    this.host.batchEnd();
    this.begin();
    for (let turn = 0; this.#commit !== undefined || this.#drain.made !== undefined; turn++) {
      assert(turn < MOST_TURNS, "a commit is made in the end");
      this.host.batchEnd();
      // A commit may be taken over in parts, with pauses between.
      if (this.host.underWay > this.host.held) this.host.step();
      this.#world.paused.shift()?.();
      await this.#settle();
    }
  }

  /** Answers everything that needs no commit. */
  serve(): void {
    for (let turn = 0; this.host.open > 0 || this.host.underWay > 0; turn++) {
      assert(turn < MOST_TURNS, "requests are answered in the end");
      this.host.batchEnd();
      this.host.step();
    }
    this.host.batchEnd();
  }

  /** One turn of serving until something is over. */
  async turn(): Promise<void> {
    this.#renew();
    this.host.batchEnd();
    this.host.step();
    this.begin();
    this.#world.paused.shift()?.();
    await this.#settle();
  }

  /** Serves until everything is answered. */
  async finish(): Promise<void> {
    for (let turn = 0; this.host.open > 0 || this.host.underWay > 0; turn++) {
      assert(turn < MOST_TURNS, "requests are answered in the end");
      await this.turn();
    }
  }

  /** Reads the whole disk, which may have to be fetched. No commit is begun meanwhile. */
  async fetchedContents(): Promise<number[]> {
    let turns = 0;
    return await this.readInTurns(async () => {
      assert(turns++ < MOST_TURNS, "the disk is read in the end");
      this.#world.paused.shift()?.();
      await this.#settle();
    });
  }

  /** Detaches in order: drains all of it. */
  async detach(): Promise<void> {
    await this.finish();
    for (let turn = 0;; turn++) {
      assert(turn < MOST_TURNS, "the journal is drained in the end");
      await this.turn();
      if (this.#commit !== undefined || this.#drain.made !== undefined) continue;
      if (this.#wanted !== undefined) continue;
      if (this.taken.committed.manifest.position === this.#drain.position) break;
      if (this.taken.committed.manifest.sequence === this.taken.from.sequence) {
        // Nothing was written since the attachment.
        if (this.#drain.position === this.taken.from.position) break;
      }
    }
    this.#marks.end();
    while (!await this.#release());
    await checkSnapshots(this.#world);
    for (const name of this.#world.marked.keys()) {
      throw new BrokenPromise(`the volume is left in order without the snapshot ${name}`);
    }
    this.engine.close();
  }

  /** @returns False if it failed and may be tried again. */
  async #release(): Promise<boolean> {
    let outcome: unknown;
    this.#drainer.enter().then(() => this.taken.committed.release()).then(
      () => outcome = true,
      (error) => outcome = error,
    );
    while (outcome === undefined) {
      this.#world.paused.shift()?.();
      await settle();
    }
    if (outcome === true) return true;
    if (this.#options.mayFailCommit?.(outcome)) return false;
    throw outcome;
  }
}
