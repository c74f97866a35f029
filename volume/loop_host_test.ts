import { assertEquals } from "@std/assert";
import type { Engine, EngineHost } from "../disk/engine.ts";
import { realFiles } from "../files/real.ts";
import { EIO } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { type FileOperations, fileOperations } from "./file_operations.ts";
import { LoopHost, type LoopHostParts } from "./loop_host.ts";

// They stay open for the life of the process, which is no leak of the test that opens them first.
openAllOfLibc();

const BLOCK = 4096;
const SLOTS = 64;
const [READ, WRITE, FLUSH] = [UBLK_IO_OP_READ, UBLK_IO_OP_WRITE, UBLK_IO_OP_FLUSH];

/** Holds requests until it is told to answer them. */
class HoldingEngine implements Engine {
  readonly operations = 4;
  /** Operations of requests that have an answer at once. */
  readonly answers = new Set<number>();
  readonly held: number[] = [];
  /** Operation and offset of each request, in their order. */
  readonly seen: [number, number][] = [];
  /** Does it for each request. */
  onRequest = (_request: number): void => {};
  /** Leaves out what the engine itself has under way. */
  mayGiveUp = (_request: number): boolean => true;
  host!: EngineHost;

  start(host: EngineHost): void {
    this.host = host;
  }

  request(request: number): void {
    const op = this.host.op(request);
    this.seen.push([op, this.host.offset(request)]);
    if (this.answers.has(op)) return this.host.answer(request, 0);
    this.held.push(request);
    this.onRequest(request);
  }

  /** Answers what it holds. */
  answer(chooses: (request: number) => boolean, result: number): void {
    const chosen = this.held.filter(chooses);
    for (const request of chosen) {
      this.held.splice(this.held.indexOf(request), 1);
      this.host.answer(request, result);
    }
  }

  count(op: number): number {
    return this.held.filter((request) => this.host.op(request) === op).length;
  }

  done(): void {}

  batchEnd(): void {}

  giveUp(isOverdue: (request: number) => boolean): void {
    this.answer((request) => isOverdue(request) && this.mayGiveUp(request), -EIO);
  }
}

/** Serves an engine for a test. */
async function served(
  run: (host: LoopHost, engine: HoldingEngine) => Promise<void>,
  parts: Partial<LoopHostParts> = {},
): Promise<void> {
  await using operations = fileOperations(realFiles);
  const report = () => {};
  const host = new LoopHost({
    ...{ operations, requests: SLOTS, requestBytes: BLOCK, report, ...parts },
  });
  const engine = new HoldingEngine();
  host.serve(engine);
  try {
    await run(host, engine);
  } finally {
    host.end();
  }
}

const flush = (host: LoopHost) => host.make({ op: FLUSH, offset: 0, length: 0 });
const read = (host: LoopHost, nth = 0) => host.readWhole(new Uint8Array(BLOCK), nth * BLOCK);
const write = (host: LoopHost, nth = 0) =>
  host.writeWhole(new Uint8Array(BLOCK), nth * BLOCK, false);
const times = <T>(count: number, make: (nth: number) => T) =>
  Array.from({ length: count }, (_, nth) => make(nth));

// Regression: all kinds had one queue for all slots. With 128 reads of a store that was away, writes and
// FLUSHes failed at their deadlines although the journal was there; and a full journal stopped reads.
for (const [name, stuck] of [["reads", read], ["writes", write], ["FLUSHes", flush]] as const) {
  Deno.test(`LoopHost + more ${name} than slots are never answered + other kinds are`, async () => {
    await served(async (host, engine) => {
      for (const op of [READ, WRITE, FLUSH]) engine.answers.add(op);
      engine.answers.delete(stuck === read ? READ : stuck === write ? WRITE : FLUSH);
      const waiting = times(2 * SLOTS, (nth) => stuck(host, nth));
      const others = [read, write, flush].filter((kind) => kind !== stuck);
      const answers = times(2 * SLOTS, (nth) => others.map((kind) => kind(host, nth))).flat();
      assertEquals(new Set(await Promise.all(answers)), new Set([0]));
      // What is stuck has most of its part all the same.
      assertEquals(engine.held.length, stuck === write ? 48 : 32);
      engine.onRequest = () => queueMicrotask(() => engine.answer(() => true, 0));
      engine.answer(() => true, 0);
      assertEquals(new Set(await Promise.all(waiting)), new Set([0]));
    });
  });
}

Deno.test("LoopHost + two kinds are never answered + the third is", async () => {
  for (const kind of [read, write, flush]) {
    await served(async (host, engine) => {
      engine.answers.add(kind === read ? READ : kind === write ? WRITE : FLUSH);
      const others = [read, write, flush].filter((other) => other !== kind);
      for (const other of others) void times(2 * SLOTS, (nth) => other(host, nth));
      const answers = times(SLOTS, (nth) => kind(host, nth));
      assertEquals(new Set(await Promise.all(answers)), new Set([0]));
    });
  }
});

Deno.test("LoopHost + requests that wait for slots + come in in their order", async () => {
  await served(async (host, engine) => {
    const made = times(2 * SLOTS, (nth) => [write(host, nth), read(host, nth)]).flat();
    engine.onRequest = () => queueMicrotask(() => engine.answer(() => true, 0));
    engine.answer(() => true, 0);
    await Promise.all(made);
    for (const op of [READ, WRITE]) {
      const places = engine.seen.filter(([one]) => one === op).map(([, offset]) => offset / BLOCK);
      assertEquals(places, times(2 * SLOTS, (nth) => nth));
    }
  });
});

// Regression: the timer counted as under way although it was cleared.
Deno.test("LoopHost + the engine throws while a timer is under way + it is idle", async () => {
  await served(async (host, engine) => {
    engine.onRequest = () => {
      engine.host.timeout(1e9, 0);
      throw new Error("on purpose");
    };
    assertEquals(await flush(host), -EIO);
    await host.idle();
  });
});

/** File operations whose syncs and writes complete when they are told to. */
function heldOperations() {
  const ends: (() => void)[] = [];
  const operations = {
    ...{ allocate: (bytes: number) => ({ bytes: new Uint8Array(bytes), [Symbol.dispose]() {} }) },
    sync: (_fd: number, take: (result: number) => void) => void ends.push(() => take(0)),
    write: (...args: unknown[]) =>
      void ends.push(() => (args[5] as (result: number) => void)(args[2] as number)),
  };
  return { ends, operations: operations as unknown as FileOperations };
}

Deno.test("LoopHost.finish + requests wait, and others wait for slots + all are given up, in the end", async () => {
  await served(async (host, engine) => {
    const made = times(2 * SLOTS, (nth) => [write(host, nth), read(host, nth), flush(host)]).flat();
    await host.finish(1);
    assertEquals(new Set(await Promise.all(made)), new Set([-EIO]));
    assertEquals([engine.held.length, engine.seen.length], [0, 6 * SLOTS]);
  });
});

Deno.test("LoopHost.finish + what can be answered in time + is not given up", async () => {
  await served(async (host, engine) => {
    const [first, second] = [write(host), flush(host)];
    setTimeout(() => host.tell(() => engine.answer(() => true, 0)), 20);
    await host.finish(60_000);
    assertEquals([await first, await second], [0, 0]);
  });
});

Deno.test("LoopHost.finish + a sync is under way + it is waited for, and then the rest is given up", async () => {
  const { ends, operations } = heldOperations();
  await served(async (host, engine) => {
    engine.host.sync(7, 1);
    const [flushed, isRead] = [flush(host), read(host)];
    const finished = host.finish(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assertEquals(engine.held.length, 2);
    ends[0]();
    await finished;
    assertEquals([await flushed, await isRead], [-EIO, -EIO]);
  }, { operations });
});

Deno.test("LoopHost + overdue requests that only wait + are given up, and leave their slots", async () => {
  const { ends, operations } = heldOperations();
  await served(async (host, engine) => {
    engine.host.write({ bytes: new Uint8Array(BLOCK), address: 0 }, 0, BLOCK, 7, 0, 1);
    const written = write(host);
    const flushes = times(2 * SLOTS, () => flush(host));
    // The host's own timer keeps no process; elsewhere the wait for the drain does.
    const timer = setTimeout(() => {}, 60_000);
    assertEquals(new Set(await Promise.all(flushes)), new Set([-EIO]));
    // It may be in what is being written.
    assertEquals(engine.count(WRITE), 1);
    engine.answers.add(FLUSH);
    assertEquals(await flush(host), 0);
    clearTimeout(timer);
    ends[0]();
    engine.answer(() => true, 0);
    assertEquals(await written, 0);
  }, { operations, overdueUs: 50_000 });
});
