import { assert, assertEquals } from "@std/assert";
import type { EngineHost } from "../../disk/engine.ts";
import { MemoryStore } from "../../store/memory.ts";
import { type Store, type StoredObject, StoreError } from "../../store/store.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { ETIME } from "../../uapi/errno.ts";
import { Fetches, type FetchTime } from "../cache/fetch.ts";
import { FetchBoard } from "../cache/fetch_board.ts";
import { VolumeCounters } from "../counters.ts";
import { placeOf } from "../format/place.ts";
import { IN_CHUNK, type Maps } from "../maps.ts";
import { ObjectNames } from "../names.ts";
import { CACHE_SIZES } from "../sizes.ts";
import { stateOf } from "../state.ts";
import { Volume } from "../volume.ts";
import { CachedChunks } from "./cached_chunks.ts";
import type { PieceOwner } from "./chunk_reads.ts";
import { Pieces } from "./pieces.ts";

const BLOCK = 4096;
const NAMES = new ObjectNames("v");
/** Milliseconds that a reader waits: those of a device with the default deadline. */
const WAIT_MS = 16_000;
const STEP_MS = 100;
const SLOTS = 16;

/** All of the disk is in the first chunk. */
const MAPS: Partial<Maps> = {
  ...{ blocks: 256, kind: IN_CHUNK, place: placeOf(1, 0) },
  find: (_block, count) => count,
};

/** The error of a call at a second since the start. Undefined: the store answers. */
type Fault = (seconds: number) => Error | undefined;

/** A volume of which the first chunk is one block of sevens. */
async function storedVolume(): Promise<{ store: Store; volume: string }> {
  const store = new MemoryStore();
  await inFolder(async ({ journal, journalSize }) => {
    await Volume.create("v", { store, size: "1M" });
    await using writer = await Volume.open("v", { store, journal, journalSize });
    await writer.write(new Uint8Array(BLOCK).fill(7), 0);
  });
  return { store, volume: (await stateOf(store, NAMES)).manifest.volume };
}

/** Chunks that are read through a cache, in simulated time. Each read is of the same block. */
class Rig {
  readonly board = new FetchBoard();
  /** Reads that are over: the second since the start, and how. */
  readonly over: [read: number, seconds: number, how: "EIO" | number][] = [];
  readonly reports: string[] = [];
  /** The seconds at which the store was called. */
  readonly calls: number[] = [];
  readonly chunks: CachedChunks;
  /** The most calls at once. */
  most = 0;
  #atOnce = 0;
  #nowMs = 0;
  #sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];
  #hasCome = false;
  #isGone = false;
  readonly #fetches: Fetches;
  readonly #pieces = new Pieces(SLOTS);
  readonly #data = Array.from({ length: SLOTS }, () => new Uint8Array(BLOCK));
  readonly #failed = new Set<number>();
  #reads = 0;

  /** @param body The body comes after that. */
  constructor(store: Store, volume: string, fault: Fault, body = () => Promise.resolve()) {
    const { board } = this;
    const { line } = CACHE_SIZES;
    const memory = { bytes: new Uint8Array(8 * line), address: 0 };
    const ownerOf = () => ({ names: NAMES, volume });
    const fetches = this.#fetches = new Fetches({
      ...{ board, line, ownerOf, memory: memory.bytes, time: this.#time() },
      signal: () => void (this.#hasCome = true),
      store: {
        get: (...call) =>
          this.#get(async () => {
            await body();
            return await store.get(...call);
          }, fault),
      },
    });
    this.chunks = new CachedChunks({
      ...{ blockSize: BLOCK, ownerOf, memory, board, counters: new VolumeCounters() },
      sizes: { ...CACHE_SIZES, waitUs: WAIT_MS * 1000 },
      asked: () => this.#isGone ? void (this.#hasCome = true) : fetches.begin(),
      report: (words) => void this.reports.push(words),
    });
    this.chunks.start(this.#owner());
  }

  get seconds(): number {
    return this.#nowMs / 1000;
  }

  async #get(get: () => Promise<StoredObject | undefined>, fault: Fault) {
    this.calls.push(this.seconds);
    this.most = Math.max(this.most, ++this.#atOnce);
    try {
      const error = fault(this.seconds);
      if (error !== undefined) throw error;
      return await get();
    } finally {
      this.#atOnce--;
    }
  }

  #time(): FetchTime {
    return {
      clock: () => this.#nowMs,
      random: () => 1,
      sleep: (ms) => this.#sleep(ms),
    };
  }

  /** Sleeps until a second since the start. */
  sleepUntil(second: number): Promise<void> {
    return this.#sleep(second * 1000 - this.#nowMs);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((wake) => void this.#sleepers.push({ atMs: this.#nowMs + ms, wake }));
  }

  #owner(): PieceOwner {
    const host: Partial<EngineHost> = {
      data: (request) => this.#data[request],
      nowUs: () => this.#nowMs * 1000,
      timeout: (us, token) =>
        void this.#sleep(us / 1000).then(() => this.chunks.done(token, -ETIME)),
    };
    const fails = () => {
      throw new Error("there is no file");
    };
    return {
      ...{ pieces: this.#pieces, host: host as EngineHost, maps: MAPS as Maps, send: fails },
      fail: (piece, words) => {
        this.#failed.add(piece);
        if (words !== undefined) this.reports.push(words);
      },
      ended: (piece) => this.#ended(piece),
    };
  }

  #ended(piece: number): void {
    const read = this.#pieces.request[piece];
    const how = this.#failed.delete(piece) ? "EIO" : this.#data[read][0];
    this.#pieces.release(piece);
    this.over.push([read, Math.floor(this.seconds), how]);
  }

  /** Reads the block. */
  async read(): Promise<void> {
    const piece = this.#pieces.take(this.#reads++, 0, BLOCK);
    this.#pieces.chunk[piece] = 1;
    this.#pieces.from[piece] = 0;
    if (this.chunks.read(piece)) this.#ended(piece);
    this.chunks.batchEnd();
    await this.#settle();
  }

  /** A request reads a block of the disk, and gets it from elsewhere. */
  async saw(block: number): Promise<void> {
    this.chunks.saw(block, 1);
    this.chunks.batchEnd();
    await this.#settle();
  }

  /** Whoever fetches is no more. */
  async end(): Promise<void> {
    this.#isGone = this.#hasCome = true;
    this.#fetches.stop();
    this.board.fail("the thread has ended");
    await this.#settle();
  }

  /** Time passes, up to a second since the start. */
  async until(seconds: number): Promise<void> {
    for (; this.#nowMs < seconds * 1000; this.#nowMs += STEP_MS) {
      const awake = this.#sleepers.filter(({ atMs }) => atMs <= this.#nowMs);
      this.#sleepers = this.#sleepers.filter(({ atMs }) => atMs > this.#nowMs);
      for (const { wake } of awake) wake();
      await this.#settle();
    }
  }

  async #settle(): Promise<void> {
    const { length } = this.calls;
    for (let turn = 0; turn < 50; turn++) {
      assert(this.calls.length < length + 100, "the store is called without end");
      await undefined;
      if (!this.#hasCome) continue;
      this.#hasCome = false;
      this.chunks.woken();
      this.chunks.batchEnd();
      turn = 0;
    }
    this.chunks.batchEnd();
  }
}

const away = () => new StoreError("unavailable", "no route to host");

// Regression: the other reads failed with the fetch that the first had begun, after 5 s of their own.
Deno.test("CachedChunks + reads that join a fetch late, and the store comes back + are answered, by one fetch", async () => {
  const { store, volume } = await storedVolume();
  const rig = new Rig(store, volume, (seconds) => seconds < 25 ? away() : undefined);
  await rig.read();
  await rig.until(15);
  await rig.read();
  await rig.read();
  await rig.until(60);
  const [first, ...others] = rig.over;
  assertEquals(first, [0, 16, "EIO"]);
  assertEquals(others.map(([read, , how]) => [read, how]).sort(), [[1, 7], [2, 7]]);
  assert(others.every(([, seconds]) => seconds >= 25 && seconds <= 27), `${others}`);
  assertEquals(rig.most, 1);
});

Deno.test("CachedChunks + a store that stays away + each read fails in its own time, and then nobody asks", async () => {
  const { store, volume } = await storedVolume();
  const rig = new Rig(store, volume, away);
  for (const second of [0, 5, 10, 19]) {
    await rig.until(second);
    await rig.read();
  }
  await rig.until(120);
  assertEquals(rig.over, [[0, 16, "EIO"], [1, 21, "EIO"], [2, 26, "EIO"], [3, 35, "EIO"]]);
  assertEquals(rig.most, 1);
  // Two fetches.
  assert(rig.calls.at(-1)! < 40 && rig.calls.length < 40, `${rig.calls}`);
});

Deno.test("CachedChunks + a body that comes for longer than reads may wait + each ends in its own time, and the bytes are kept", async () => {
  const { store, volume } = await storedVolume();
  const rig: Rig = new Rig(store, volume, () => undefined, () => rig.sleepUntil(30));
  await rig.read();
  await rig.until(20);
  await rig.read();
  await rig.until(29);
  assertEquals([rig.over, rig.calls], [[[0, 16, "EIO"]], [0]]);
  await rig.until(60);
  await rig.read();
  const [, [second, , how], third] = rig.over;
  assertEquals([second, how, third], [1, 7, [2, 60, 7]]);
});

Deno.test("CachedChunks + a failure that does not pass + fails all who wait, and nobody asks again", async () => {
  for (const fault of ["full", "refused"] as const) {
    const { store, volume } = await storedVolume();
    const final = () => new StoreError(fault, "there is a reason");
    const rig = new Rig(store, volume, (seconds) => seconds < 3 ? away() : final());
    await rig.read();
    await rig.until(2);
    await rig.read();
    await rig.until(60);
    assertEquals(rig.over.map(([, , how]) => how), ["EIO", "EIO"]);
    assert(rig.over.every(([, seconds]) => seconds <= 5), `${rig.over}`);
    assertEquals(rig.reports.at(-1), "there is a reason");
    assertEquals(rig.calls.filter((second) => second >= 3).length, 1, fault);
  }
});

Deno.test("CachedChunks + an object that is missing + fails all who wait, and nobody asks again", async () => {
  const { store, volume } = await storedVolume();
  await store.delete(NAMES.chunk(1));
  const rig = new Rig(store, volume, () => undefined);
  await rig.read();
  await rig.until(60);
  assertEquals(rig.over, [[0, 0, "EIO"]]);
  assertEquals(rig.calls.length, 1);
});

// Regression: it was asked for again and again, as fast as the store could answer.
Deno.test("CachedChunks + a table that cannot be read ahead + is asked for by requests of the stream alone", async () => {
  const { store, volume } = await storedVolume();
  const refused = new StoreError("refused", "there is a reason");
  const rig = new Rig(store, volume, () => refused);
  for (let block = 0; block < 4; block++) await rig.saw(block);
  await rig.until(60);
  assertEquals([rig.calls.length, rig.over], [2, []]);

  const name = NAMES.chunk(1);
  const { bytes } = (await store.get(name))!;
  bytes[40] ^= 1;
  await store.delete(name);
  await store.putIfAbsent(name, bytes);
  const damaged = new Rig(store, volume, () => undefined);
  for (let block = 0; block < 4; block++) await damaged.saw(block);
  await damaged.until(60);
  // What is damaged is fetched three times.
  assertEquals([damaged.calls.length, damaged.over], [6, []]);
});

// Regression: nobody was told, and each read waited until its time was over.
Deno.test("CachedChunks + whoever fetches is no more + reads fail at once, those that wait and later ones, and one line says why", async () => {
  const { store, volume } = await storedVolume();
  const rig = new Rig(store, volume, away);
  await rig.read();
  await rig.until(2);
  await rig.end();
  assertEquals(rig.over, [[0, 2, "EIO"]]);
  for (let block = 0; block < 4; block++) await rig.saw(block);
  await rig.until(3);
  await rig.read();
  assertEquals(rig.over, [[0, 2, "EIO"], [1, 3, "EIO"]]);
  await rig.until(60);
  assertEquals(rig.calls.filter((second) => second >= 4), []);
  const told = "the store failed, and is tried again: no route to host";
  assertEquals(rig.reports, [told, "the thread has ended"]);
});
