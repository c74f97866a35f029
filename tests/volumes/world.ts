/**
 * A simulated machine with a volume in a store, all drawn from one seed. Its servers are in
 * `server.ts`, and what happens to them in `crashes.ts`, `faults.ts` and others.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine, ProcessEnded } from "../../files/crashable_machine.ts";
import { DirectoryStore } from "../../store/directory.ts";
import type { Store } from "../../store/store.ts";
import type { Dice } from "../../uapi/dice.ts";
import { createVolume } from "../../volume/create.ts";
import { openCipher } from "../../volume/seal/gcm.ts";
import { keyOf, OpenedStore } from "../../volume/opened_store.ts";
import { unlocked } from "../../volume/seal/unlock.ts";
import type { VolumeKey } from "../../volume/seal/volume_key.ts";
import type { Seam } from "../../volume/seam.ts";
import { type AskedSnapshot, VolumeHistory } from "./history.ts";

openCipher();

/** Bytes of a block, with plain habits. */
export const BLOCK = 512;
/** Blocks of a new disk. */
export const BLOCKS = 48;
/** Most blocks of a disk. */
export const MOST_BLOCKS = 64;
/** The volume's name. */
export const NAME = "v";
/** The folder of its journal. */
export const JOURNAL = "/journal";
/** The folder of another journal. */
export const OTHER_JOURNAL = "/other";

/** One seed in so many has an encrypted volume. */
export const ENCRYPTED = 3;
/** One seed in so many has a volume that compresses, encrypted or not. */
export const COMPRESSED = 2;
/** Turns of the microtask queue after which everything that need not wait has happened. */
const TURNS = 60;

/** Lets everything happen that need not wait. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await undefined;
}

/** The kind of a seed's requests, and of its journal. */
export interface Habits {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Most bytes of a chunk: one block, or some. */
  readonly chunkSize: number;
  /** Bytes of a sector of the machine's disk. */
  readonly sectorBytes: number;
  /** One chance in so many changes the size of the disk. */
  readonly resizes: number;
  /** Bytes of a segment: a few batches, or some dozens. */
  readonly segmentSize: number;
  /** Number of segments. */
  readonly segments: number;
  /** Requests at once. With many, a batch's header has more than one sector. */
  readonly requests: number;
  /** Blocks of data in a batch. */
  readonly batchBlocks: number;
  /** Of 20 requests, so many are flushes, reads and holes; the others are writes. */
  readonly flushes: number;
  readonly reads: number;
  readonly holes: number;
  /** One write in so many has FUA. */
  readonly fua: number;
  /** Requests keep to so many blocks. */
  readonly blocks: number;
  /** One chance in so many begins a commit. */
  readonly drains: number;
  /** Calls to the store wait. Otherwise there are many more commits. */
  readonly pauses: boolean;
  /** Most pieces of reads on their way. */
  readonly pieces: number;
  /** A flush waits for the store. */
  readonly isDurableInStore: boolean;
}

/** Habits of a server for tests by hand. */
export const PLAIN_HABITS: Habits = {
  ...{ segmentSize: 65536, segments: 3, flushes: 1, reads: 5, holes: 1, fua: 50, drains: 3 },
  ...{ blocks: BLOCKS, pieces: 4, requests: 6, batchBlocks: 4, pauses: true },
  ...{ blockSize: BLOCK, chunkSize: 8192, sectorBytes: 512, resizes: 3 },
  isDurableInStore: false,
};

function habitsOf(dice: Dice): Habits {
  const oneOf = <T>(...values: T[]) => values[dice.draw(values.length)];
  const isWide = dice.draw(4) === 0;
  const blockSize = oneOf(512, 512, 512, 1024, 2048, 4096);
  // Two pages of headers, and the data of a batch.
  const least = 8 + (isWide ? 32 : 4) * Math.max(blockSize, 1024) / 1024;
  return {
    blockSize,
    // A commit to a store that fails is of few chunks, or it would never succeed.
    chunkSize: oneOf(8192, 8192, 12288, 32768) * Math.max(1, blockSize / 1024),
    sectorBytes: oneOf(512, 4096),
    resizes: oneOf(2, 4, 20),
    segmentSize: (least + (isWide ? 0 : oneOf(0, 4, 28))) * 1024,
    ...isWide ? { requests: 40, batchBlocks: 32 } : { requests: 6, batchBlocks: 4 },
    segments: oneOf(2, 3, 4),
    flushes: oneOf(0, 1, 4, 8),
    reads: oneOf(1, 5),
    holes: oneOf(1, 5),
    fua: oneOf(2, 4, 50),
    blocks: oneOf(8, MOST_BLOCKS, MOST_BLOCKS),
    drains: oneOf(1, 3, 20),
    pauses: oneOf(true, true, false),
    pieces: oneOf(2, 20),
    isDurableInStore: oneOf(false, false, true),
  };
}

/** The machine with its volume. */
export class World {
  readonly machine: CrashableMachine;
  readonly dice: Dice;
  readonly habits: Habits;
  /** The clients' knowledge of the volume. */
  history = new VolumeHistory(BLOCKS, MOST_BLOCKS);
  /** The epoch of the last attachment. */
  epoch = 0;
  /** Calls of all servers to the store that wait to go on. */
  paused: (() => void)[] = [];
  /** Snapshots that living servers are making or removing. */
  readonly naming = new Set<string>();
  /** How often all servers have ended. */
  ends = 0;
  /** The newest state that the store was seen to have. */
  seen = { sequence: 0, number: 0 };
  /** The contents of the volume's snapshots; undefined for one that may be there or not. */
  readonly snapshots = new Map<string, readonly number[] | undefined>();
  /** Snapshots that were taken, and that the store has not been seen to have. */
  readonly marked = new Map<string, AskedSnapshot>();
  /** Names that snapshots were asked for by. */
  marksAsked = 0;
  /** Those whose contents were compared. */
  marksChecked = 0;
  /** The contents of its clones, likewise. */
  readonly clones = new Map<string, readonly number[] | undefined>();
  /** The events so far, for a failure's report. */
  readonly log: string[] = [];
  /** The lease of attachments in milliseconds; 0 for none. */
  leaseMs = 0;
  /** Takers that wait for a lease, and until when. */
  #waiting: { until: number; resolve: () => void }[] = [];
  #elapsed = 0;
  #uuids = 0;
  #now = 1000;

  /** The key to open the volume with; undefined for one that is not encrypted. */
  readonly key: Uint8Array<ArrayBuffer> | undefined;
  #dataKey: VolumeKey | undefined = undefined;

  /** How its volume compresses. */
  readonly compression: { readonly compression?: "zstd" };

  /** A machine of a seed. */
  constructor(seed: number, bytes?: number, habits?: Habits) {
    // Not drawn: the same seed shall be the same run, encrypted or not.
    if (seed % ENCRYPTED === 0) this.key = new Uint8Array(32).fill(seed);
    this.compression = seed % COMPRESSED === 0 ? { compression: "zstd" } : {};
    this.machine = new CrashableMachine(seed, bytes);
    this.dice = this.machine.dice;
    this.habits = habits ?? habitsOf(this.dice);
    this.machine.sectorBytes = this.habits.sectorBytes;
    if (habits === undefined) this.machine.hasCheapDurability = this.dice.draw(2) === 0;
    this.history.isDurableInStore = this.habits.isDurableInStore;
    this.history.now = this.seam.now;
  }

  /** Time and randomness of the simulation. */
  readonly seam: Seam = {
    now: () => ++this.#now,
    clock: () => this.#uuids,
    elapsed: () => this.#elapsed,
    uuid: () => (++this.#uuids).toString(16).padStart(32, "0"),
  };

  /** Lets time pass, in milliseconds. */
  pass(ms: number): void {
    this.#elapsed += ms;
    const due = this.#waiting.filter(({ until }) => until <= this.#elapsed);
    this.#waiting = this.#waiting.filter(({ until }) => until > this.#elapsed);
    for (const { resolve } of due) resolve();
  }

  /** Waits until time has passed. */
  wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ until: this.#elapsed + ms, resolve });
    return promise;
  }

  /** Makes the volume. */
  async create(): Promise<void> {
    const files = new CrashableProcess(this.machine);
    for (const folder of [JOURNAL, OTHER_JOURNAL, "/store"]) files.makeFolder(folder);
    files.syncFolder("/");
    {
      await using store = await this.store(files);
      const { blockSize, chunkSize } = this.habits;
      const shape = { size: BLOCKS * blockSize, blockSize, chunkSize, ...this.compression };
      await createVolume(store, NAME, shape, this.seam, this.key);
      if (this.key !== undefined) this.#dataKey = keyOf(await unlocked(store, NAME, this.key));
    }
    this.machine.kill();
  }

  /** The data key; undefined for a volume that is not encrypted. */
  get dataKey(): VolumeKey | undefined {
    return this.#dataKey;
  }

  /** A store as the volume's servers use it. */
  opened(store: Store): Store {
    return new OpenedStore(store, this.#dataKey);
  }

  /** Opens the store. */
  async store(files: CrashableProcess): Promise<DirectoryStore> {
    let ids = 0;
    const run = ++this.#uuids;
    return await DirectoryStore.open("/store", {
      ...{ files, newId: () => `${run}-${++ids}`, pause: () => Promise.resolve() },
    });
  }

  /** Ends all servers: killed, or by a power cut. */
  end(how: "killed" | "power"): void {
    this.machine.faults = undefined;
    if (how === "power") this.machine.cutPower();
    else this.machine.kill();
    this.machine.endsAt = Infinity;
    this.paused = [];
    this.#waiting = [];
    this.naming.clear();
    this.ends++;
  }

  /** Lets one call to the store that waits go on. */
  resume(): void {
    this.paused.splice(this.dice.draw(this.paused.length), 1)[0]?.();
  }

  /** Writes a line to the log. */
  note(words: string): void {
    this.log.push(words);
  }

  /** A failure with what has happened before. */
  failure(seed: number, error: unknown): Error {
    const told = [...this.log.slice(-20), ...this.machine.log.slice(-60)].join("\n");
    const words = error instanceof Error ? error.message : String(error);
    return new Error(`seed ${seed}: ${words}\n${told}`, { cause: error });
  }
}

/** Runs a simulation of a seed. */
export async function simulate(
  seed: number,
  run: (world: World) => Promise<void>,
  bytes?: number,
): Promise<void> {
  const world = new World(seed, bytes);
  try {
    await world.create();
    await run(world);
  } catch (error) {
    throw world.failure(seed, error);
  }
}

/** Whether an error tells that the process has ended. */
export function hasEnded(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof ProcessEnded) return true;
  }
  return false;
}
