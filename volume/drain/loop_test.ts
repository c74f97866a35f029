import { assert, assertEquals, assertMatch } from "@std/assert";
import { StoreError } from "../../store/store.ts";
import { UblkError } from "../../uapi/error.ts";
import { closeFd, eventFd, isSignalled, openAllOfLibc } from "../../uring/libc.ts";
import type { Committed } from "../committed.ts";
import { Extents } from "../format/run.ts";
import { VolumeCounters } from "../counters.ts";
import { MACHINE } from "../seam.ts";
import { Board, DrainSide, EngineSide, ORDER_HURRY, ORDER_STOP } from "./board.ts";
import type { Drainer, MadeCommit } from "./drainer.ts";
import { drainLoop } from "./loop.ts";

const MIB = 1 << 20;

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

/** A loop over a drain that commits all it is asked for, unless it is told to fail. */
class Rig implements AsyncDisposable {
  readonly board = new Board();
  readonly wakeFd = eventFd(true);
  readonly engine = new EngineSide(this.board, this.wakeFd);
  /** Up to where each commit was asked for. */
  readonly commits: number[] = [];
  /** Errors of the next commits. */
  readonly failures: unknown[] = [];
  readonly counters = new VolumeCounters();
  released = 0;
  /** Sizes that were committed. */
  readonly sizes: number[] = [];
  /** Another process asks. */
  isAsked = false;
  /** What was told of space that may be given back. */
  readonly told: string[] = [];
  readonly keeper = {
    takeMoves: () => undefined,
    handedOver: () => void this.told.push("handed over"),
    replaced: () => void this.told.push("replaced"),
    quiet: (commits: number) => void this.told.push(`quiet ${commits}`),
  };
  readonly ended: Promise<unknown>;

  constructor() {
    const drainer = {
      commit: (until: number): Promise<MadeCommit> => {
        this.commits.push(until);
        const failure = this.failures.shift();
        if (failure !== undefined) return Promise.reject(failure);
        const extents = new Extents();
        extents.push(this.commits.length, 2, 7);
        return Promise.resolve({
          extents,
          end: { position: until, sequence: 1, chain: 0, written: until / 2 },
        });
      },
    } as unknown as Drainer;
    const committed = {
      commit: ({ size }: { size: number }) => {
        this.sizes.push(size);
        const failure = this.failures.shift();
        return failure === undefined ? Promise.resolve() : Promise.reject(failure);
      },
      release: () => {
        this.released++;
        return Promise.resolve();
      },
    } as unknown as Committed;
    const board = new DrainSide(this.board, this.wakeFd);
    this.ended = drainLoop({
      ...{
        board,
        drainer,
        committed,
        keeper: this.keeper,
        wasAsked: () => {
          const isAsked = this.isAsked;
          this.isAsked = false;
          return isAsked;
        },
        position: 1000,
        seam: MACHINE,
        commitBytes: 64 * MIB,
      },
      counters: this.counters,
    });
  }

  /** Lets the loop do what it can at once. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.engine.taken();
    this.board.order(ORDER_STOP);
    // A loop that sleeps does not keep the process alive.
    const timer = setInterval(() => {}, 1000);
    await this.ended;
    clearInterval(timer);
    closeFd(this.wakeFd);
  }
}

Deno.test("the drain sleeps until there is enough, and hands over what it has committed", async () => {
  await using rig = new Rig();
  await rig.settle();
  const { looks } = rig.engine;
  rig.engine.published(1000 + 10 * MIB, 3, 4);
  await rig.settle();
  assert(rig.engine.looks > looks, "the engine sees that it has looked");
  assertEquals(rig.commits, []);
  rig.engine.published(1000 + 64 * MIB, 5, 6);
  await rig.settle();
  assertEquals(rig.commits, [1000 + 64 * MIB]);
  assertEquals(isSignalled(rig.wakeFd), true);
  const commit = rig.engine.commit()!;
  assertEquals([commit.position, commit.written], [1000 + 64 * MIB, 500 + 32 * MIB]);
  const { length, blocks, counts, places } = commit.extents;
  assertEquals([length, blocks[0], counts[0], places[0]], [1, 1, 2, 7]);
  assert(rig.told.includes("handed over"));
  // The next one waits until the engine has taken this one over.
  rig.engine.published(1000 + 128 * MIB, 7, 8);
  await rig.settle();
  assertEquals(rig.commits.length, 1);
  rig.engine.taken();
  await rig.settle();
  assertEquals(rig.commits.length, 2);
  rig.engine.quiet(1);
  await rig.settle();
  assertEquals(rig.told.at(-1), "quiet 1");
});

Deno.test("the drain commits at once if the journal is full, or if somebody asks for it", async () => {
  await using rig = new Rig();
  rig.engine.published(2000, 1, 1);
  rig.engine.hurry();
  await rig.settle();
  assertEquals(rig.commits, [2000]);
  rig.engine.taken();
  await rig.settle();
  assertEquals(new DrainSide(rig.board, rig.wakeFd).orders & ORDER_HURRY, 0);
  rig.engine.published(3000, 2, 2);
  await rig.settle();
  rig.isAsked = true;
  while (rig.commits.length < 2) await rig.settle();
  assertEquals(rig.commits, [2000, 3000]);
  rig.engine.taken();
  // That was for what there was, and not for what comes after it.
  rig.engine.published(4000, 3, 3);
  for (let turn = 0; turn < 5; turn++) await rig.settle();
  assertEquals(rig.commits, [2000, 3000]);
});

Deno.test("the drain stops only when all is drained and the volume is left in order", async () => {
  const rig = new Rig();
  rig.engine.published(5000, 1, 1);
  rig.board.order(ORDER_STOP);
  assertEquals(await rig.ended, undefined);
  assertEquals([rig.commits, rig.released], [[5000], 1]);
  // There is nobody any more to take it over.
  assertEquals(rig.engine.commit(), undefined);
  closeFd(rig.wakeFd);
});

Deno.test("a store that is away is tried again, and told of once", async () => {
  await using rig = new Rig();
  rig.failures.push(new StoreError("unavailable", "away"), new StoreError("full", "no room"));
  rig.engine.published(2000, 1, 1);
  rig.engine.hurry();
  while (rig.commits.length < 3) await rig.settle();
  assertEquals(rig.commits, [2000, 2000, 2000]);
  assertMatch(`${rig.engine.report()}`, /^the store failed, and is tried again: away$/);
  assertEquals(rig.engine.report(), undefined);
  assertEquals(rig.engine.hasFailed, false);
  assertEquals(rig.counters.read().storeFailures, 2);
});

Deno.test("a new size is committed before any batch, until the store has the last one", async () => {
  await using rig = new Rig();
  rig.engine.published(2000, 1, 1);
  rig.engine.hurry();
  rig.failures.push(new StoreError("unavailable", "away"));
  // This thread cannot wait for the loop, which is its own.
  assertEquals(rig.engine.resize(4096, 0), false);
  assertEquals(rig.engine.resize(8192, 0), false);
  while (rig.commits.length === 0) await rig.settle();
  assertEquals(rig.sizes, [8192, 8192]);
  // It has been committed: nobody waits.
  const wait = Atomics.wait;
  try {
    Atomics.wait = () => {
      new DrainSide(rig.board, rig.wakeFd).resized(512);
      return "ok";
    };
    assertEquals(rig.engine.resize(512, 1000), true);
  } finally {
    Atomics.wait = wait;
  }
});

Deno.test("a drain that cannot go on ends, and the engine learns of it", async () => {
  const rig = new Rig();
  const error = new UblkError("VOLUME_FENCED", { operation: "volume db", reason: "taken over" });
  rig.failures.push(error);
  rig.engine.published(2000, 1, 1);
  rig.engine.hurry();
  assertEquals(await rig.ended, error);
  assertEquals([rig.engine.hasFailed, rig.released], [true, 0]);
  assertMatch(`${rig.engine.report()}`, /taken over/);
  assertEquals(isSignalled(rig.wakeFd), true);
  closeFd(rig.wakeFd);
});

Deno.test("the last line of a drain waits for the one before, and is not dropped", () => {
  const board = new Board();
  const wakeFd = eventFd(true);
  const [engine, drain] = [new EngineSide(board, wakeFd), new DrainSide(board, wakeFd)];
  drain.report("the store failed");
  const lines: (string | undefined)[] = [];
  const wait = Atomics.wait;
  try {
    Atomics.wait = () => {
      lines.push(engine.report());
      return "ok";
    };
    drain.fail("the volume is lost");
  } finally {
    Atomics.wait = wait;
  }
  assertEquals([...lines, engine.report()], ["the store failed", "the volume is lost"]);
  closeFd(wakeFd);
});
