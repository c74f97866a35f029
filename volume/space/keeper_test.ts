import { assert, assertEquals } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { StoreError } from "../../store/store.ts";
import type { Committed } from "../committed.ts";
import { AT, VolumeCounters } from "../counters.ts";
import { placeOf } from "../format/place.ts";
import { BlockMap } from "../map/block_map.ts";
import { ObjectNames } from "../names.ts";
import type { collectGarbage, HeldChunk } from "./collect.ts";
import { SpaceKeeper } from "./keeper.ts";

const MIB = 1 << 20;
const EXTENTS = { blocks: [1], counts: [1], places: [1], length: 1 } as never;

/** A keeper whose time and collections the test decides. */
class Rig {
  nowMs = 0;
  /** How long a collection takes, and what it finds. */
  tookMs = 0;
  sizes = { neededBytes: 16 * MIB, storedBytes: 16 * MIB };
  manifest = 1;
  /** The pause that the keeper has asked for. */
  pause: { ms: number; call: () => void } | undefined = undefined;
  /** The bases so far. */
  readonly bases: number[] = [];
  /** Chunks that are left. */
  held: HeldChunk[] = [];
  /** How often data was there to be moved. */
  moves = 0;
  failure: Error | undefined = undefined;
  /** Data that is to be moved cannot be read. */
  readFailure: Error | undefined = undefined;
  /** What a collection waits for. */
  hanging: Promise<undefined> | undefined = undefined;
  readonly lines: string[] = [];
  readonly counters = new VolumeCounters();
  readonly keeper: SpaceKeeper;

  constructor() {
    const head = () => ({ volume: "v", manifest: this.manifest, manifestSum: 0 });
    const failure = () => this.readFailure;
    const committed = {
      store: new class extends MemoryStore {
        override get(...args: Parameters<MemoryStore["get"]>) {
          return failure() === undefined ? super.get(...args) : Promise.reject(failure());
        }
      }(),
      names: new ObjectNames("v"),
      get head() {
        return head();
      },
    } as unknown as Committed;
    this.keeper = new SpaceKeeper({
      ...{ committed, counters: this.counters },
      seam: { now: () => 0, clock: () => this.nowMs, elapsed: () => this.nowMs, uuid: () => "" },
      report: (line) => this.lines.push(line),
      onMoves: () => this.moves++,
      timer: (ms, call) => {
        this.pause = { ms, call };
        return () => this.pause = undefined;
      },
      collect: ((parts) => {
        this.bases.push(parts.base.manifest);
        if (this.failure !== undefined) return Promise.reject(this.failure);
        if (this.hanging !== undefined) return this.hanging;
        this.nowMs += this.tookMs;
        const freed = { objects: 1, bytes: 10, chunks: 1, ...this.sizes };
        const manifest = { blockSize: 4096, chunkSize: 4 * MIB, ancestors: [] };
        const map = new BlockMap({ blocks: 1, step: 1 });
        map.set(0, 1, placeOf(1, 0));
        return Promise.resolve({ ...freed, manifest, map, held: this.held } as never);
      }) as typeof collectGarbage,
    });
  }

  /** A commit is made, handed over, and reached. */
  commit(): void {
    this.manifest++;
    this.keeper.handedOver(EXTENTS);
    this.keeper.quiet(this.manifest - 1);
  }

  /** The pause that was asked for is over. */
  async wait(): Promise<void> {
    const { ms, call } = this.pause!;
    this.pause = undefined;
    this.nowMs += ms;
    call();
    for (let turn = 0; turn < 20; turn++) await undefined;
  }
}

Deno.test("SpaceKeeper + an idle volume + nothing is looked at", async () => {
  const rig = new Rig();
  assertEquals(rig.pause, undefined);
  rig.keeper.quiet(0);
  assertEquals(rig.pause, undefined);
  rig.commit();
  await rig.wait();
  assertEquals([rig.bases, rig.pause], [[2], undefined]);
  assertEquals(rig.counters.get(AT.freedBytes), 10);
});

Deno.test("SpaceKeeper + a commit that the engine has not reached + is no base", () => {
  const rig = new Rig();
  rig.manifest = 2;
  rig.keeper.handedOver(EXTENTS);
  assertEquals(rig.pause, undefined);
  rig.keeper.quiet(1);
  assert(rig.pause !== undefined);
});

Deno.test("SpaceKeeper + a store that has grown beyond what is needed + no fixed pause", async () => {
  const rig = new Rig();
  rig.commit();
  assertEquals(rig.pause!.ms, 10_000);
  rig.tookMs = 300;
  await rig.wait();
  rig.commit();
  assertEquals(rig.pause!.ms, 10_000);
  // The pause under way is over as soon as it is seen that the store grows.
  rig.counters.add(AT.chunkPlainBytes, 32 * MIB);
  rig.commit();
  assertEquals(rig.pause!.ms, 300);
  await rig.wait();
  assertEquals(rig.bases, [2, 4]);
});

Deno.test("SpaceKeeper + a store that grows + is moved ahead of", async () => {
  const rig = new Rig();
  rig.held = [{ chunk: 1, bytes: 4 * MIB, neededBytes: MIB }];
  rig.sizes = { neededBytes: 256 * MIB, storedBytes: 390 * MIB };
  rig.commit();
  await rig.wait();
  // At 1.52 times what is needed, nothing has to be moved if no more is written.
  assertEquals([rig.moves, rig.lines], [0, []]);
  rig.counters.add(AT.chunkPlainBytes, 32 * MIB);
  rig.tookMs = 300;
  rig.commit();
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals([rig.bases, rig.moves, rig.lines], [[2, 3], 1, []]);
});

// The growth before a collection was counted again after it, if what it found could not be read to be moved.
Deno.test("SpaceKeeper + data that cannot be read to be moved + what the collection found counts", async () => {
  const rig = new Rig();
  rig.sizes = { neededBytes: 100 * MIB, storedBytes: 160 * MIB };
  rig.held = [{ chunk: 1, bytes: 4 * MIB, neededBytes: MIB }];
  rig.readFailure = new StoreError("unavailable", "away");
  rig.commit();
  rig.counters.add(AT.chunkPlainBytes, 50 * MIB);
  await rig.wait();
  assertEquals(rig.lines, ["space is not given back: away"]);
  rig.readFailure = undefined;
  rig.hanging = new Promise(() => {});
  await rig.wait();
  let isOver = false;
  void rig.keeper.catchUp().then(() => isOver = true);
  for (let turn = 0; turn < 20; turn++) await undefined;
  // 160 MiB are stored, and less than twice what is needed. Nothing was written since.
  assertEquals(isOver, true);
});

Deno.test("SpaceKeeper + a collection that takes long + as long a pause, whatever is written", async () => {
  const rig = new Rig();
  rig.commit();
  rig.tookMs = 60_000;
  await rig.wait();
  rig.counters.add(AT.chunkPlainBytes, 1024 * MIB);
  rig.commit();
  assertEquals(rig.pause!.ms, 60_000);
});

Deno.test("SpaceKeeper + what is written is little beside what is needed + the long pause", async () => {
  const rig = new Rig();
  // A snapshot has more than can be given back.
  rig.sizes = { neededBytes: 2048 * MIB, storedBytes: 8192 * MIB };
  rig.commit();
  rig.tookMs = 300;
  await rig.wait();
  rig.counters.add(AT.chunkPlainBytes, 31 * MIB);
  rig.commit();
  assertEquals(rig.pause!.ms, 10_000);
  rig.counters.add(AT.chunkPlainBytes, MIB);
  rig.commit();
  assertEquals(rig.pause!.ms, 300);
});

Deno.test("SpaceKeeper + a store that fails is tried again, and one line says so", async () => {
  const rig = new Rig();
  rig.failure = new StoreError("unavailable", "away");
  rig.commit();
  await rig.wait();
  await rig.wait();
  assertEquals([rig.bases, rig.lines], [[2, 2], ["space is not given back: away"]]);
  rig.failure = undefined;
  await rig.wait();
  assertEquals([rig.bases.length, rig.pause], [3, undefined]);
});

Deno.test("SpaceKeeper.close() + begins nothing any more", async () => {
  const rig = new Rig();
  rig.commit();
  await rig.keeper.close();
  assertEquals(rig.pause, undefined);
  rig.commit();
  assertEquals([rig.pause, rig.bases], [undefined, []]);
});

Deno.test("SpaceKeeper.catchUp + a store with far more than is needed + waits for the collection, but not for long", async () => {
  const rig = new Rig();
  rig.sizes = { neededBytes: 100 * MIB, storedBytes: 150 * MIB };
  rig.commit();
  await rig.wait();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  rig.hanging = promise;
  const isHeld = async () => {
    let isOver = false;
    void rig.keeper.catchUp().then(() => isOver = true);
    for (let turn = 0; turn < 20; turn++) await undefined;
    return !isOver;
  };
  rig.counters.add(AT.chunkPlainBytes, 49 * MIB);
  rig.commit();
  if (rig.pause !== undefined) await rig.wait();
  assertEquals(await isHeld(), false);
  rig.counters.add(AT.chunkPlainBytes, 2 * MIB);
  assertEquals(await isHeld(), true);
  assertEquals(rig.pause?.ms, 1000);
  rig.pause!.call();
  const caughtUp = rig.keeper.catchUp();
  resolve(undefined);
  await caughtUp;
  assertEquals(await isHeld(), false);
});

Deno.test("SpaceKeeper.ask + an idle volume, and one whose last collection took long + collects at once", async () => {
  const rig = new Rig();
  rig.tookMs = 60_000;
  rig.keeper.ask(1);
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals([rig.bases, rig.pause], [[1], undefined]);
  rig.keeper.ask(2);
  rig.keeper.quiet(0);
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals(rig.bases, [1]);
  rig.commit();
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals(rig.bases, [1, 2]);
});

// Regression: a look at the catalog found what the last collection had changed there, and had the next one
// begin at once, however long it took.
Deno.test("SpaceKeeper.mayFree + no commit since the last collection + collects after the usual pause", async () => {
  const rig = new Rig();
  rig.tookMs = 60_000;
  rig.keeper.ask(1);
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals([rig.bases, rig.pause], [[1], undefined]);
  rig.keeper.mayFree();
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals([rig.bases, rig.pause?.ms], [[1], 20 * 60_000]);
  await rig.wait();
  assertEquals([rig.bases, rig.pause], [[1, 1], undefined]);
});

Deno.test("SpaceKeeper.ask + while it collects + collects once more", async () => {
  const rig = new Rig();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  rig.hanging = promise;
  rig.keeper.ask(0);
  rig.keeper.ask(0);
  assertEquals(rig.bases, [1]);
  rig.hanging = undefined;
  resolve(undefined);
  for (let turn = 0; turn < 40; turn++) await undefined;
  assertEquals([rig.bases, rig.pause], [[1, 1], undefined]);
});

Deno.test("SpaceKeeper.ask + a store that fails + collects later", async () => {
  const rig = new Rig();
  rig.failure = new StoreError("unavailable", "away");
  rig.keeper.ask(0);
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals(rig.bases, [1]);
  rig.failure = undefined;
  await rig.wait();
  assertEquals([rig.bases, rig.pause], [[1, 1], undefined]);
});
