import { assert, assertEquals, assertMatch } from "@std/assert";
import { StoreError } from "../../store/store.ts";
import { UblkError } from "../../uapi/error.ts";
import { closeFd, eventFd, isSignalled, openAllOfLibc, resetEventFd } from "../../uring/libc.ts";
import type { Committed } from "../committed.ts";
import { Extents } from "../format/run.ts";
import { VolumeCounters } from "../counters.ts";
import { MACHINE } from "../seam.ts";
import type { Moves } from "../space/moves.ts";
import { Board, DrainSide, EngineSide, ORDER_HURRY, ORDER_STOP } from "./board.ts";
import type { Drainer, MadeCommit } from "./drainer.ts";
import { drainLoop } from "./loop.ts";
import { COMMIT_MS } from "./policy.ts";

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
  /** Another process asks for everything. */
  isAsked = false;
  /** Why the volume is lost. */
  lost: unknown;
  /** Snapshots: the last one's position, and whether one has no entry. */
  readonly marks = {
    failure: undefined as unknown,
    wanted: -1,
    owes: false,
    end: () => void this.told.push("no more snapshots"),
    takeAll: () => {
      const { isAsked } = this;
      this.isAsked = false;
      return isAsked;
    },
  };
  /** What was told of space that may be given back. */
  readonly told: string[] = [];
  /** Data that is to be moved. */
  readonly moves: Moves[] = [];
  readonly keeper = {
    takeMoves: () => this.moves.shift(),
    catchUp: () => Promise.resolve(),
    handedOver: () => void this.told.push("handed over"),
    replaced: () => void this.told.push("replaced"),
    quiet: (commits: number) => void this.told.push(`quiet ${commits}`),
  };
  readonly ended: Promise<unknown>;
  /** The clock, which stands still: nothing is committed because it has waited for long. */
  nowMs = 0;

  constructor() {
    let owesCommit = false;
    const moved = () => ({ extents: new Extents(), end: undefined });
    const drainer = {
      get owesCommit() {
        return owesCommit;
      },
      move: () => {
        this.told.push("moved");
        const failure = this.failures.shift();
        owesCommit = failure !== undefined;
        return failure === undefined ? Promise.resolve(moved()) : Promise.reject(failure);
      },
      finish: () => {
        this.told.push("finished");
        const failure = this.failures.shift();
        if (failure !== undefined) return Promise.reject(failure);
        owesCommit = false;
        return Promise.resolve(moved());
      },
      resize: (size: number) => {
        this.sizes.push(size);
        const failure = this.failures.shift();
        return failure === undefined ? Promise.resolve() : Promise.reject(failure);
      },
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
      enter: () => {
        this.told.push("entered");
        const failure = this.failures.shift();
        if (failure !== undefined) return Promise.reject(failure);
        this.marks.owes = false;
        return Promise.resolve();
      },
    } as unknown as Drainer;
    const committed = {
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
        marks: this.marks,
        lost: () => this.lost,
        position: 1000,
        seam: { ...MACHINE, clock: () => this.nowMs },
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
  new DrainSide(rig.board, rig.wakeFd).wake();
  while (rig.commits.length < 2) await rig.settle();
  assertEquals(rig.commits, [2000, 3000]);
  rig.engine.taken();
  // That was for what there was, and not for what comes after it.
  rig.engine.published(4000, 3, 3);
  for (let turn = 0; turn < 5; turn++) await rig.settle();
  assertEquals(rig.commits, [2000, 3000]);
});

Deno.test("the drain commits what has waited for long enough, and not before", async () => {
  await using rig = new Rig();
  const look = () => {
    new DrainSide(rig.board, rig.wakeFd).wake();
    return rig.settle();
  };
  rig.engine.published(2000, 1, 1);
  await rig.settle();
  rig.nowMs = COMMIT_MS - 1;
  await look();
  assertEquals(rig.commits, []);
  rig.nowMs = COMMIT_MS;
  await look();
  assertEquals(rig.commits, [2000]);
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

Deno.test("a move that was decided is handed over before a new size, and though nothing else is to do", async () => {
  await using rig = new Rig();
  const away = new StoreError("unavailable", "away");
  const wake = () => new DrainSide(rig.board, rig.wakeFd).wake();
  rig.failures.push(away, away);
  rig.moves.push({} as Moves);
  wake();
  while (!rig.told.includes("handed over")) await rig.settle();
  const told = () => rig.told.filter((words) => !words.startsWith("quiet"));
  assertEquals(told(), ["moved", "finished", "finished", "handed over"]);
  assertEquals(rig.engine.commit()!.position, -1);
  rig.engine.taken();
  await rig.settle();
  // Garbage is collected by the state with the new size: the engine must know of the move before.
  rig.told.length = 0;
  rig.failures.push(away, away);
  rig.moves.push({} as Moves);
  wake();
  while (!rig.told.includes("moved")) await rig.settle();
  assertEquals(rig.engine.resize(4096, 0), false);
  while (!rig.told.includes("replaced")) await rig.settle();
  assertEquals(told(), ["moved", "finished", "finished", "handed over", "replaced"]);
});

Deno.test("a snapshot that was taken is committed at once, and entered before anything else", async () => {
  const rig = new Rig();
  rig.engine.published(2000, 1, 1);
  await rig.settle();
  assertEquals(rig.commits, []);
  rig.marks.wanted = 1500;
  new DrainSide(rig.board, rig.wakeFd).wake();
  while (rig.commits.length === 0) await rig.settle();
  rig.marks.wanted = -1;
  rig.marks.owes = true;
  rig.failures.push(new StoreError("unavailable", "away"));
  assertEquals(rig.engine.resize(4096, 0), false);
  while (rig.sizes.length === 0) await rig.settle();
  assertEquals(rig.told.filter((words) => words === "entered").length, 2);
  assert(rig.told.lastIndexOf("entered") < rig.told.indexOf("replaced"));
  rig.marks.owes = true;
  rig.engine.taken();
  rig.board.order(ORDER_STOP);
  while (rig.released === 0) await rig.settle();
  assertEquals(await rig.ended, undefined);
  const last = rig.told.filter((words) => words === "entered" || words === "no more snapshots");
  assertEquals([last.at(-2), last.at(-1)], ["entered", "no more snapshots"]);
  assertEquals(rig.released, 1);
  closeFd(rig.wakeFd);
});

Deno.test("a journal that cannot be made durable for a snapshot ends the drain", async () => {
  const rig = new Rig();
  rig.marks.failure = new Error("a sync failed");
  new DrainSide(rig.board, rig.wakeFd).wake();
  assertEquals(await rig.ended, rig.marks.failure);
  assertEquals(rig.engine.hasFailed, true);
  closeFd(rig.wakeFd);
});

Deno.test("an idle drain whose volume is lost ends, and says so once", async () => {
  const rig = new Rig();
  await rig.settle();
  const error = new UblkError("VOLUME_FENCED", { operation: "volume db", reason: "taken over" });
  const drain = new DrainSide(rig.board, rig.wakeFd);
  // Whoever has found out tells the engine at once.
  drain.fail(error.message);
  rig.lost = error;
  drain.wake();
  await rig.settle();
  assertEquals(await rig.ended, error);
  assertMatch(`${rig.engine.report()}`, /taken over/);
  drain.fail(error.message);
  assertEquals([rig.engine.report(), rig.engine.hasFailed], [undefined, true]);
  closeFd(rig.wakeFd);
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

Deno.test("DrainSide.published() + more is published while it reads + the numbers belong together", () => {
  const board = new Board();
  const wakeFd = eventFd(true);
  const [engine, drain] = [new EngineSide(board, wakeFd), new DrainSide(board, wakeFd)];
  engine.published(1, 1, 1);
  const { add } = Atomics;
  let looks = 0;
  try {
    Atomics.add = ((words: Int32Array<SharedArrayBuffer>, nth: number, value: number) => {
      // The second look, which no read before it may pass, and a plain load would not hold back.
      if (value === 0 && ++looks === 1) engine.published(2, 2, 2);
      return add(words, nth, value);
    }) as typeof Atomics.add;
    assertEquals(drain.published(), { position: 2, sequence: 2, written: 2 });
  } finally {
    Atomics.add = add;
  }
  assertEquals(looks, 2);
  closeFd(wakeFd);
});

Deno.test("DrainSide.fail() + another line waits to be logged + the engine learns of the failure before that", () => {
  const board = new Board();
  const wakeFd = eventFd(true);
  const [engine, drain] = [new EngineSide(board, wakeFd), new DrainSide(board, wakeFd)];
  drain.report("the store failed");
  resetEventFd(wakeFd);
  const learned: boolean[] = [];
  const wait = Atomics.wait;
  try {
    Atomics.wait = () => {
      learned.push(engine.hasFailed, isSignalled(wakeFd));
      return "timed-out";
    };
    drain.fail("a sync failed");
  } finally {
    Atomics.wait = wait;
  }
  assertEquals(learned, [true, true]);
  closeFd(wakeFd);
});

Deno.test("a new size that is waited for while its thread goes on + durable, late, or never", async () => {
  const board = new Board();
  const wakeFd = eventFd(true);
  const [engine, drain] = [new EngineSide(board, wakeFd), new DrainSide(board, wakeFd)];
  // What waits for shared memory does not keep the process.
  const awake = setInterval(() => {}, 1000);
  try {
    const durable = engine.resizeLater(4096, 10_000);
    assertEquals(drain.takeSize(), 4096);
    drain.resized(512);
    drain.resized(4096);
    assertEquals(await durable, true);
    assertEquals(await engine.resizeLater(8192, 5), false);
    const never = engine.resizeLater(8192, 10_000);
    drain.ended();
    assertEquals(await never, false);
  } finally {
    clearInterval(awake);
    closeFd(wakeFd);
  }
});
