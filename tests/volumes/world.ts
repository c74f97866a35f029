/**
 * A simulated machine with a volume: servers that take requests, drain, crash at any operation, and
 * are followed by others, all drawn from one seed.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine, ProcessEnded } from "../../files/crashable_machine.ts";
import type { File } from "../../files/port.ts";
import { DirectoryStore } from "../../store/directory.ts";
import { FaultyStore } from "../../store/faulty.ts";
import type { Dice } from "../../uapi/dice.ts";
import { assert } from "../../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../../uapi/ublk_io.ts";
import { attachEngine, chunkOpener, loadMaps } from "../../volume/attach.ts";
import { createVolume } from "../../volume/committed.ts";
import { Drainer, type MadeCommit } from "../../volume/drain/drainer.ts";
import { JournalSource } from "../../volume/drain/source.ts";
import type { Commit, Drain, VolumeEngine } from "../../volume/engine.ts";
import { openSegments } from "../../volume/journal/files.ts";
import type { Seam } from "../../volume/seam.ts";
import { type Taken, takeVolume } from "../../volume/take.ts";
import { BrokenPromise, type Ending, VolumeHistory } from "./history.ts";
import { SimHost } from "./sim_host.ts";

const BLOCK = 512;
const BLOCKS = 48;
const REQUESTS = 6;
const NAME = "v";
const JOURNAL = "/journal";
const SIZES = { batchData: 4 * BLOCK, batches: 3, openChunks: 2 };
const SEGMENT = 40 * 1024;

/** Turns of the microtask queue after which everything that need not wait has happened. */
const TURNS = 60;

async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await undefined;
}

/** The drain's side of a simulated server. */
class SimDrain implements Drain {
  position = 0;
  made: MadeCommit | undefined;

  published(position: number): void {
    this.position = position;
  }

  hurry(): void {}

  commit(): Commit | undefined {
    if (this.made === undefined) return undefined;
    return { extents: this.made.extents, position: this.made.end.position };
  }

  taken(): void {
    this.made = undefined;
  }
}

/** The machine with its volume. */
export class World {
  readonly machine: CrashableMachine;
  readonly history = new VolumeHistory(BLOCKS);
  readonly dice: Dice;
  /** What has happened, for a failure's report. */
  readonly log: string[] = [];
  #uuids = 0;

  /** A machine of a seed. */
  constructor(seed: number, bytes?: number) {
    this.machine = new CrashableMachine(seed, bytes);
    this.dice = this.machine.dice;
  }

  /** Time and randomness of the simulation. */
  readonly seam: Seam = {
    now: () => 1000 + this.#uuids,
    clock: () => this.#uuids,
    uuid: () => (++this.#uuids).toString(16).padStart(32, "0"),
  };

  /** Makes the volume. */
  async create(): Promise<void> {
    const files = new CrashableProcess(this.machine);
    files.makeFolder(JOURNAL);
    files.makeFolder("/store");
    files.syncFolder("/");
    {
      await using store = await this.store(files);
      const shape = { size: BLOCKS * BLOCK, blockSize: BLOCK, chunkSize: 8192 };
      await createVolume(store, NAME, shape, this.seam);
    }
    this.machine.kill();
  }

  /** Opens the store. */
  async store(files: CrashableProcess): Promise<DirectoryStore> {
    let ids = 0;
    const run = ++this.#uuids;
    return await DirectoryStore.open("/store", {
      ...{ files, newId: () => `${run}-${++ids}`, pause: () => Promise.resolve() },
    });
  }

  /** Writes a line to the log. */
  note(words: string): void {
    this.log.push(words);
  }
}

/** One server of a world. */
export class Server {
  readonly host: SimHost;
  readonly #world: World;
  readonly #taken: Taken;
  readonly #drain: SimDrain;
  readonly #drainer: Drainer;
  readonly engine: VolumeEngine;
  /** Store calls that wait to go on. */
  readonly #paused: (() => void)[] = [];
  #commit: Promise<void> | undefined;
  #failure: unknown;
  readonly #busy = new Set<number>();

  private constructor(world: World, taken: Taken, parts: {
    host: SimHost;
    drain: SimDrain;
    drainer: Drainer;
    engine: VolumeEngine;
    paused: (() => void)[];
  }) {
    this.#world = world;
    this.#taken = taken;
    this.host = parts.host;
    this.#drain = parts.drain;
    this.#drainer = parts.drainer;
    this.engine = parts.engine;
    this.#paused = parts.paused;
  }

  /** Attaches the volume. */
  static async start(world: World, withoutJournal = false): Promise<Server> {
    const files = new CrashableProcess(world.machine);
    const paused: (() => void)[] = [];
    const direct = await world.store(files);
    let pauses = false;
    const store = new FaultyStore(direct, {
      dice: world.dice,
      pause: () => pauses ? new Promise<void>((resolve) => void paused.push(resolve)) : undefined,
    });
    const taken = await takeVolume({
      ...{ store, name: NAME, files, folder: JOURNAL, segmentSize: SEGMENT, segments: 3 },
      ...{ withoutJournal, host: "simulation", seam: world.seam },
    });
    const { committed, identity, paths, from } = taken;
    const maps = await loadMaps(committed);
    const host = new SimHost(world.dice, REQUESTS);
    const drain = new SimDrain();
    const report = (words: string) => world.note(words);
    const { engine, end, drainFrom } = attachEngine({
      ...{ identity, maps, from, drain, report, sizes: SIZES, failsWhenFull: false },
      ...{ fdOf: host.fdOf, allocate: host.allocate, epoch: committed.epoch },
      journal: openSegments(files, paths),
      openChunk: chunkOpener({
        ...{ files, fdOf: host.fdOf, volume: identity.volume },
        pathOf: (chunk) => direct.localPath(committed.names.chunk(chunk)),
      }),
      words: `journal ${JOURNAL}`,
    });
    drain.position = end.position;
    const journal: File[] = openSegments(files, paths);
    const drainer = new Drainer({
      committed,
      source: new JournalSource({
        ...{ files: journal, blockSize: BLOCK, size: SEGMENT, words: "journal" },
        from: drainFrom,
        window: new Uint8Array(32 * 1024),
      }),
      data: new Uint8Array(24 * BLOCK),
    });
    host.serve(engine);
    pauses = true;
    return new Server(world, taken, { host, drain, drainer, engine, paused });
  }

  /** Does something, as the dice decide. */
  async act(): Promise<void> {
    const { dice } = this.#world;
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
        if (this.#commit === undefined && this.#drain.made === undefined && dice.draw(3) === 0) {
          this.#begin();
        }
        break;
      case 7:
        this.#paused.splice(dice.draw(this.#paused.length), 1)[0]?.();
        break;
    }
    await settle();
    if (this.#failure !== undefined) throw this.#failure;
  }

  #begin(): void {
    this.#commit = this.#drainer.commit(this.#drain.position).then((made) => {
      this.#drain.made = made;
      this.#commit = undefined;
    }, (error) => {
      this.#commit = undefined;
      this.#failure = error;
    });
  }

  /** Makes a request. */
  request(): void {
    const { dice, history } = this.#world;
    const kind = dice.draw(10);
    if (kind === 0) {
      const flushed = history.flush();
      return this.host.make({
        ...{ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0, fua: false, data: new Uint8Array(0) },
        answered: (result) => result === 0 ? flushed() : this.#refused("flush", result),
      });
    }
    const count = 1 + dice.draw(dice.draw(4) === 0 ? 12 : 3);
    const block = dice.draw(BLOCKS - count + 1);
    const blocks = Array.from({ length: count }, (_, nth) => block + nth);
    if (blocks.some((one) => this.#busy.has(one))) return;
    const take = () => blocks.forEach((one) => this.#busy.add(one));
    const free = () => blocks.forEach((one) => this.#busy.delete(one));
    const offset = block * BLOCK;
    const length = count * BLOCK;
    take();
    if (kind < 4) {
      const data = new Uint8Array(length).fill(0xee);
      return this.host.make({
        ...{ op: UBLK_IO_OP_READ, offset, length, fua: false, data },
        answered: (result) => {
          free();
          if (result !== 0) return this.#refused(`read of block ${block}`, result);
          idsOf(data).forEach((id, nth) => {
            const expected = history.expected(block + nth);
            if (expected === undefined || expected === id) return;
            throw new BrokenPromise(`block ${block + nth} reads as ${id}, and not ${expected}`);
          });
        },
      });
    }
    const isHole = kind === 4;
    const id = isHole ? 0 : history.nextId();
    const fua = dice.draw(6) === 0;
    const written = history.write(block, count, id);
    this.host.make({
      ...{ op: isHole ? UBLK_IO_OP_DISCARD : UBLK_IO_OP_WRITE, offset, length, fua },
      data: isHole ? new Uint8Array(0) : filled(block, count, id),
      answered: (result) => {
        free();
        if (result === 0) written(fua);
        else this.#refused(`write of block ${block}`, result);
      },
    });
  }

  #refused(what: string, result: number): void {
    throw new BrokenPromise(`a ${what} failed with ${result} on a machine without faults`);
  }

  /** Serves until everything is answered. */
  async finish(): Promise<void> {
    for (let turn = 0; this.host.open > 0 || this.host.underWay > 0; turn++) {
      assert(turn < 10_000, "requests are answered in the end");
      this.host.batchEnd();
      this.host.step();
      if (this.#commit === undefined && this.#drain.made === undefined) this.#begin();
      this.#paused.shift()?.();
      await settle();
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  /** Reads the whole disk. */
  async contents(): Promise<number[]> {
    const data = new Uint8Array(BLOCKS * BLOCK).fill(0xee);
    let result: number | undefined;
    this.host.make({
      ...{ op: UBLK_IO_OP_READ, offset: 0, length: data.length, fua: false, data },
      answered: (answer) => result = answer,
    });
    await this.finish();
    if (result !== 0) throw new BrokenPromise(`the disk cannot be read: ${result}`);
    return idsOf(data);
  }

  /** Detaches in order: drains all of it. */
  async detach(): Promise<void> {
    await this.finish();
    for (let turn = 0;; turn++) {
      assert(turn < 10_000, "the journal is drained in the end");
      this.host.batchEnd();
      this.host.step();
      this.#paused.shift()?.();
      await settle();
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#commit !== undefined || this.#drain.made !== undefined) continue;
      if (this.#taken.committed.manifest.position === this.#drain.position) break;
      this.#begin();
    }
    const release = this.#taken.committed.release();
    let isReleased = false;
    release.then(() => isReleased = true, () => isReleased = true);
    while (!isReleased) {
      this.#paused.shift()?.();
      await settle();
    }
    await release;
    this.engine.close();
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

function filled(_block: number, count: number, id: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array(count * BLOCK / 4).fill(id).buffer);
}

/** Lets servers live and end, one after the other, and checks what each one leaves. */
export async function live(seed: number): Promise<void> {
  const world = new World(seed);
  const { machine, dice, history } = world;
  try {
    await world.create();
    for (let life = 0; life < 5; life++) {
      const ending = ["killed", "power", "detached"][dice.draw(3)];
      let server: Server | undefined;
      try {
        if (ending !== "detached") machine.endsAt = machine.operations + 10 + dice.draw(400);
        server = await Server.start(world);
        const acts = 20 + dice.draw(300);
        for (let act = 0; act < acts; act++) await server.act();
        if (ending === "detached") await server.detach();
        else throw new ProcessEnded();
      } catch (error) {
        if (!hasEnded(error)) throw error;
        if (ending === "detached") throw error;
      }
      world.note(`life ${life}: ${ending}`);
      if (ending === "power") machine.cutPower();
      else machine.kill();
      machine.endsAt = Infinity;
      const next = await Server.start(world);
      history.check(await next.contents(), ending === "power" ? "power" : "killed" as Ending);
      // Whatever has been found stays.
      if (dice.draw(2) === 0) machine.cutPower();
      else machine.kill();
      const again = await Server.start(world);
      history.check(await again.contents(), "killed");
      machine.kill();
    }
  } catch (error) {
    const told = [...world.log.slice(-20), ...machine.log.slice(-60)].join("\n");
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}\n${told}`, {
      cause: error,
    });
  }
}

function hasEnded(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof ProcessEnded) return true;
  }
  return false;
}
