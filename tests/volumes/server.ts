/**
 * A simulated server of a volume: the engine and the drain of a real one, whose requests,
 * completions and store calls come in an order that dice decide.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import type { StoreFaults } from "../../store/faults.ts";
import { FaultyStore } from "../../store/faulty.ts";
import { ENOSPC } from "../../uapi/errno.ts";
import { assert } from "../../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../../uapi/ublk_io.ts";
import { attachEngine, chunkOpener, loadMaps } from "../../volume/attach.ts";
import { Drainer, type MadeCommit } from "../../volume/drain/drainer.ts";
import { JournalSource } from "../../volume/drain/source.ts";
import type { Commit, Drain, VolumeEngine } from "../../volume/engine.ts";
import { openSegments } from "../../volume/journal/files.ts";
import { FileChunks } from "../../volume/read/file_chunks.ts";
import { type Taken, takeVolume } from "../../volume/take.ts";
import { BrokenPromise, type VolumeHistory } from "./history.ts";
import { type SimCache, simCache, type SimCacheOptions } from "./sim_cache.ts";
import { SimHost } from "./sim_host.ts";
import { BLOCK, BLOCKS, JOURNAL, NAME, settle, type World } from "./world.ts";

const SIZES = { batches: 3, openChunks: 2, takenAtOnce: 3 };
const MOST_TURNS = 10_000;
const NO_DATA = new Uint8Array(0);

/** How a server is started, and what it may do. */
export interface ServerOptions {
  /** The journal's folder. */
  readonly folder?: string;
  /** Attaches without the journal. */
  readonly withoutJournal?: boolean;
  /** Faults of the store, from the start. */
  readonly storeFaults?: StoreFaults;
  /** Calls to the store wait from the start, to be resumed by the world. */
  readonly pauses?: boolean;
  /** A full journal fails writes. */
  readonly failsWhenFull?: boolean;
  /** Reads chunks through a cache. */
  readonly cache?: SimCacheOptions;
  /** Whether a request may fail so; none may by default. */
  readonly mayFail?: (op: number, errno: number) => boolean;
  /** Whether a commit may fail so; none may by default. */
  readonly mayFailCommit?: (error: unknown) => boolean;
  /** Called whenever a commit has succeeded. */
  readonly onCommit?: () => void;
}

/** The drain's side of a simulated server. */
class SimDrain implements Drain {
  position = 0;
  made: MadeCommit | undefined;
  hurries = 0;
  /** What was published, and when; the oldest first. */
  readonly #published: { position: number; time: number }[] = [];
  history: VolumeHistory;

  constructor(history: VolumeHistory) {
    this.history = history;
  }

  published(position: number): void {
    this.position = position;
    this.#published.push({ position, time: this.history.tick() });
  }

  hurry(): void {
    this.hurries++;
  }

  commit(): Commit | undefined {
    if (this.made === undefined) return undefined;
    return { extents: this.made.extents, position: this.made.end.position };
  }

  taken(): void {
    this.made = undefined;
  }

  /** The store has everything before a position: notes what was answered by then. */
  stored(position: number): void {
    let time = 0;
    while (this.#published.length > 0 && this.#published[0].position <= position) {
      time = this.#published.shift()!.time;
    }
    this.history.stored(time);
  }
}

/** One server of a world. */
export class Server {
  readonly host: SimHost;
  readonly engine: VolumeEngine;
  readonly taken: Taken;
  readonly store: FaultyStore;
  /** A commit has failed because somebody else has the volume. */
  isFenced = false;
  /** A write or a flush has failed for good. */
  hasFailed = false;
  /** Requests that have failed. */
  failures = 0;
  /** What the engine has reported. */
  readonly reports: string[];
  readonly #world: World;
  readonly #options: ServerOptions;
  readonly #cache: SimCache | undefined;
  readonly #drain: SimDrain;
  readonly #drainer: Drainer;
  #commit: Promise<void> | undefined;
  #failure: unknown;
  /** Blocks that are being written; and those among them that are being made holes. */
  readonly #busy = new Map<number, number>();
  readonly #holes = new Map<number, number>();

  private constructor(world: World, options: ServerOptions, parts: {
    host: SimHost;
    drain: SimDrain;
    drainer: Drainer;
    engine: VolumeEngine;
    taken: Taken;
    store: FaultyStore;
    reports: string[];
    cache: SimCache | undefined;
  }) {
    this.#world = world;
    this.#options = options;
    this.taken = parts.taken;
    this.store = parts.store;
    this.host = parts.host;
    this.#drain = parts.drain;
    this.#drainer = parts.drainer;
    this.engine = parts.engine;
    this.reports = parts.reports;
    this.#cache = parts.cache;
  }

  /** Attaches the volume. */
  static async start(world: World, options: ServerOptions = {}): Promise<Server> {
    const { folder = JOURNAL, withoutJournal = false, failsWhenFull = false } = options;
    const { dice, habits, history } = world;
    const files = new CrashableProcess(world.machine);
    const direct = await world.store(files);
    let pauses = options.pauses ?? false;
    const store = new FaultyStore(direct, {
      ...{ dice, faults: options.storeFaults },
      pause: () => {
        if (pauses) return new Promise<void>((resolve) => void world.paused.push(resolve));
      },
    });
    const taken = await takeVolume({
      ...{ store, name: NAME, files, folder, withoutJournal, host: "simulation" },
      ...{ segmentSize: habits.segmentSize, segments: habits.segments, seam: world.seam },
    });
    const { committed, identity, paths, from } = taken;
    if (committed.epoch <= world.epoch) throw new BrokenPromise("an epoch has two attachments");
    world.epoch = committed.epoch;
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
    const open = chunkOpener({
      ...{ files, fdOf: host.fdOf, volume: identity.volume },
      pathOf: (chunk) => direct.localPath(committed.names.chunk(chunk)),
    });
    const { engine, end, drainFrom } = attachEngine({
      ...{ identity, maps, from, drain, report, failsWhenFull },
      isDurableInStore: habits.isDurableInStore,
      ...{ fdOf: host.fdOf, allocate: host.allocate, epoch: committed.epoch },
      journal: openSegments(files, paths),
      chunks: cache?.chunks ?? new FileChunks(open, SIZES.openChunks, BLOCK),
      words: `journal ${folder}`,
      sizes: { ...SIZES, batchData: habits.batchBlocks * BLOCK, pieces: habits.pieces },
    });
    drain.position = end.position;
    const drainer = new Drainer({
      committed,
      source: new JournalSource({
        ...{ files: openSegments(files, paths), blockSize: BLOCK, size: identity.size },
        ...{ from: drainFrom, window: new Uint8Array(32 * 1024), words: "journal" },
      }),
      data: new Uint8Array((20 + habits.batchBlocks) * BLOCK),
    });
    host.serve(engine);
    pauses ||= habits.pauses;
    const parts = { host, drain, drainer, engine, taken, store, reports, cache };
    return new Server(world, options, parts);
  }

  /** How often the engine has asked the drain to hurry. */
  get hurries(): number {
    return this.#drain.hurries;
  }

  /** What its clients know of the volume. */
  get history(): VolumeHistory {
    return this.#drain.history;
  }

  set history(history: VolumeHistory) {
    this.#drain.history = history;
  }

  /** Does something, as the dice decide. */
  async act(): Promise<void> {
    const { dice, habits } = this.#world;
    switch (dice.draw(8)) {
      case 0:
      case 1:
      case 2:
        if (this.host.hasRoom) this.request();
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
    }
    await this.#settle();
  }

  async #settle(): Promise<void> {
    await settle();
    if (this.#cache?.hasCome()) this.engine.woken();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Begins a commit, unless one is being made. */
  begin(): void {
    if (this.#commit !== undefined || this.#drain.made !== undefined || this.isFenced) return;
    this.#commit = this.#drainer.commit(this.#drain.position).then((made) => {
      this.#commit = undefined;
      this.#drain.made = made;
      if (made === undefined) return;
      this.#drain.stored(made.end.position);
      this.#options.onCommit?.();
    }, (error) => {
      this.#commit = undefined;
      this.#world.note(`a commit failed: ${error.message}`);
      if (error.code === "VOLUME_FENCED") this.isFenced = true;
      if (!this.#options.mayFailCommit?.(error)) this.#failure = error;
    });
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

  /** Makes a request. */
  request(): void {
    const { dice, habits } = this.#world;
    const { history } = this;
    const kind = dice.draw(20);
    if (kind < habits.flushes) return this.flush();
    const most = Math.min(habits.blocks, dice.draw(4) === 0 ? 12 : 3);
    const count = 1 + dice.draw(most);
    const block = dice.draw(habits.blocks - count + 1);
    if (kind < habits.flushes + habits.reads) return this.read(block, count);
    const isHole = kind < habits.flushes + habits.reads + habits.holes;
    // Nobody writes one block twice at a time: the order would be open. Holes have none.
    for (let one = block; one < block + count; one++) {
      const [busy = 0, holes = 0] = [this.#busy.get(one), this.#holes.get(one)];
      if (busy > (isHole ? holes : 0)) return;
    }
    this.write(block, count, isHole ? 0 : history.nextId(), dice.draw(habits.fua) === 0);
  }

  /** Makes a FLUSH. */
  flush(): void {
    const flushed = this.history.flush();
    const { hasFailed } = this;
    this.host.make({
      ...{ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0, fua: false, data: NO_DATA },
      answered: (result) => {
        if (result !== 0) return this.#refused(UBLK_IO_OP_FLUSH, "a flush", result);
        if (hasFailed) throw new BrokenPromise("a flush succeeds although writing has failed");
        flushed();
      },
    });
  }

  /** Reads blocks. */
  read(block: number, count: number): void {
    const { history } = this;
    const made = history.tick();
    const data = new Uint8Array(count * BLOCK).fill(0xee);
    this.host.make({
      ...{ op: UBLK_IO_OP_READ, offset: block * BLOCK, length: data.length, fua: false, data },
      answered: (result) => {
        if (result !== 0) return this.#refused(UBLK_IO_OP_READ, `a read of ${block}`, result);
        idsOf(data).forEach((id, nth) => {
          if (history.mayRead(block + nth, id, made)) return;
          const may = history.idsOf(block + nth);
          throw new BrokenPromise(`block ${block + nth} reads as ${id}, and not ${may}`);
        });
      },
    });
  }

  /** Writes blocks; the number 0 makes them holes. */
  write(block: number, count: number, id: number, fua: boolean): void {
    const blocks = Array.from({ length: count }, (_, nth) => block + nth);
    const maps = id === 0 ? [this.#busy, this.#holes] : [this.#busy];
    const mark = (step: number) => {
      for (const map of maps) for (const one of blocks) map.set(one, (map.get(one) ?? 0) + step);
    };
    mark(1);
    const op = id === 0 ? UBLK_IO_OP_DISCARD : UBLK_IO_OP_WRITE;
    const written = this.history.write(block, count, id);
    const { hasFailed } = this;
    this.host.make({
      ...{ op, offset: block * BLOCK, length: count * BLOCK, fua },
      data: id === 0 ? NO_DATA : filled(count, id),
      answered: (result) => {
        mark(-1);
        if (result !== 0) return this.#refused(op, `a write of ${block}`, result);
        if (hasFailed) throw new BrokenPromise("a write succeeds although writing has failed");
        written(fua);
      },
    });
  }

  #refused(op: number, what: string, result: number): void {
    this.failures++;
    this.#world.note(`${what} failed with ${result}`);
    if (op !== UBLK_IO_OP_READ && result !== -ENOSPC) this.hasFailed = true;
    if (this.#options.mayFail?.(op, -result)) return;
    throw new BrokenPromise(`${what} failed with ${result} for no reason`);
  }

  /** One turn of serving until something is over. */
  async turn(): Promise<void> {
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

  /** Reads the whole disk. Nothing else happens meanwhile. */
  contents(): number[] {
    const data = new Uint8Array(BLOCKS * BLOCK).fill(0xee);
    let result: number | undefined;
    this.host.make({
      ...{ op: UBLK_IO_OP_READ, offset: 0, length: data.length, fua: false, data },
      answered: (answer) => result = answer,
    });
    while (result === undefined) {
      this.host.batchEnd();
      this.host.step();
    }
    if (result !== 0) throw new BrokenPromise(`the disk cannot be read: ${result}`);
    return idsOf(data);
  }

  /** Reads the whole disk, which may have to be fetched. No commit is begun meanwhile. */
  async fetchedContents(): Promise<number[]> {
    const data = new Uint8Array(BLOCKS * BLOCK).fill(0xee);
    let result: number | undefined;
    this.host.make({
      ...{ op: UBLK_IO_OP_READ, offset: 0, length: data.length, fua: false, data },
      answered: (answer) => result = answer,
    });
    for (let turn = 0; result === undefined; turn++) {
      assert(turn < MOST_TURNS, "the disk is read in the end");
      this.host.batchEnd();
      this.host.step();
      this.#world.paused.shift()?.();
      await this.#settle();
    }
    if (result !== 0) throw new BrokenPromise(`the disk cannot be read: ${result}`);
    return idsOf(data);
  }

  /** Reads the blocks one by one; undefined for those that cannot be read. */
  readable(): (number | undefined)[] {
    const found: (number | undefined)[] = [];
    for (let block = 0; block < BLOCKS; block++) {
      const data = new Uint8Array(BLOCK).fill(0xee);
      let result: number | undefined;
      this.host.make({
        ...{ op: UBLK_IO_OP_READ, offset: block * BLOCK, length: BLOCK, fua: false, data },
        answered: (answer) => result = answer,
      });
      while (result === undefined) {
        this.host.batchEnd();
        this.host.step();
      }
      found.push(result === 0 ? idsOf(data)[0] : undefined);
    }
    return found;
  }

  /** Detaches in order: drains all of it. */
  async detach(): Promise<void> {
    await this.finish();
    for (let turn = 0;; turn++) {
      assert(turn < MOST_TURNS, "the journal is drained in the end");
      await this.turn();
      if (this.#commit !== undefined || this.#drain.made !== undefined) continue;
      if (this.taken.committed.manifest.position === this.#drain.position) break;
      if (this.taken.committed.manifest.sequence === this.taken.from.sequence) {
        // Nothing was written since the attachment.
        if (this.#drain.position === this.taken.from.position) break;
      }
    }
    while (!await this.#release());
    this.engine.close();
  }

  /** @returns False if it failed and may be tried again. */
  async #release(): Promise<boolean> {
    let outcome: unknown;
    this.taken.committed.release().then(() => outcome = true, (error) => outcome = error);
    while (outcome === undefined) {
      this.#world.paused.shift()?.();
      await settle();
    }
    if (outcome === true) return true;
    if (this.#options.mayFailCommit?.(outcome)) return false;
    throw outcome;
  }
}

/** The numbers that blocks are filled with. */
function idsOf(data: Uint8Array<ArrayBuffer>): number[] {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
  const perBlock = BLOCK / 4;
  return Array.from({ length: data.length / BLOCK }, (_, nth) => {
    const id = words[nth * perBlock];
    for (let word = 1; word < perBlock; word++) {
      if (words[nth * perBlock + word] !== id) {
        throw new BrokenPromise(`a block is torn: ${id} and ${words[nth * perBlock + word]}`);
      }
    }
    return id;
  });
}

function filled(count: number, id: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array(count * BLOCK / 4).fill(id).buffer);
}
