import { assert, assertEquals } from "@std/assert";
import { FakeS3 } from "../../store/s3/fake_bucket.ts";
import { type FakeFault, SLOW_PARTS, SLOW_PAUSE_MS } from "../../store/s3/fake_faults.ts";
import { S3Store } from "../../store/s3/store.ts";
import { type ByteRange, type StoredObject, StoreError } from "../../store/store.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { ObjectNames } from "../names.ts";
import { AWAY, CAME, CORRUPT, FAILED, FetchBoard, MISSING } from "./fetch_board.ts";
import { Fetches, type FetchTime, MACHINE_TIME } from "./fetch.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const LINE = 1024;

/** A store's answer to a call: bytes, nothing, or an error. */
type Answer = (range: ByteRange, signal: AbortSignal) => Promise<StoredObject | undefined>;

/** Fetches from a store that answers so, with a clock that sleeping alone moves on. */
function rigOf(get: Answer) {
  const board = new FetchBoard();
  const memory = new Uint8Array(8 * LINE);
  const pauses: number[] = [];
  let now = 0;
  const time: FetchTime = {
    clock: () => now,
    random: () => 1,
    sleep: (ms) => {
      pauses.push(ms);
      now += ms;
      return Promise.resolve();
    },
  };
  const { promise, resolve } = Promise.withResolvers<void>();
  let calls = 0;
  const ownerOf = () => ({ names: new ObjectNames("v"), volume: "" });
  const fetches = new Fetches({
    ...{ board, memory, line: LINE, ownerOf, time },
    signal: () => void (board.ended() >= 0 && resolve()),
    store: {
      get: (_name, { range, signal } = {}) => {
        calls++;
        return get(range!, signal!);
      },
    },
  });
  return {
    ...{ board, memory, pauses, fetches },
    /** Fetches some lines. @returns How that has ended, in how many calls. */
    async fetch(bytes: number, mayEnd = false): Promise<[outcome: number, calls: number]> {
      const lengths = Int32Array.of(LINE, LINE, LINE);
      const lines = Math.ceil(bytes / LINE);
      board.ask(3, 7, 4096, bytes, mayEnd, Int32Array.of(5, 1, 2), lengths, lines);
      fetches.begin();
      await promise;
      assertEquals(board.ended(), 3);
      return [board.outcome(3), calls];
    },
  };
}

function found(length: number, size = 1 << 20): StoredObject {
  return { bytes: new Uint8Array(length).map((_, at) => at >> 10 | 16), version: "", size };
}

Deno.test("Fetches + bytes that come + lie line by line where they shall", async () => {
  const rig = rigOf((range) => Promise.resolve(found(range.length)));
  assertEquals(await rig.fetch(2 * LINE + 512), [CAME, 1]);
  assertEquals(rig.board.bytes(3), 2 * LINE + 512);
  const firsts = Array.from({ length: 8 }, (_, line) => rig.memory[line * LINE]);
  assertEquals(firsts, [0, 17, 18, 0, 0, 16, 0, 0]);
  assertEquals([rig.memory[2 * LINE + 511], rig.memory[2 * LINE + 512]], [18, 0]);
});

Deno.test("Fetches + an object that may end + comes as far as it goes, and no less", async () => {
  const answer = () => Promise.resolve(found(100, 4096 + 100));
  assertEquals(await rigOf(answer).fetch(LINE, true), [CAME, 1]);
  const short = () => Promise.resolve(found(99, 4096 + 100));
  assertEquals(await rigOf(short).fetch(LINE, true), [CORRUPT, 1]);
  assertEquals(await rigOf(answer).fetch(LINE, false), [CORRUPT, 1]);
});

Deno.test("Fetches + a store that is away + is tried again with longer pauses, and told once", async () => {
  let left = 6;
  const rig = rigOf((range) => {
    if (left-- > 0) throw new StoreError("unavailable", "no route to host");
    return Promise.resolve(found(range.length));
  });
  assertEquals(await rig.fetch(LINE), [CAME, 7]);
  assertEquals(rig.pauses, [50, 100, 200, 400, 800, 1600]);
  const report = rig.board.takeReport();
  assertEquals(report, "the store failed, and is tried again: no route to host");
  assertEquals(rig.board.takeReport(), undefined);
});

Deno.test("Fetches + a store that stays away + says so after a while", async () => {
  const rig = rigOf(() => Promise.reject(new StoreError("unavailable", "no route to host")));
  const [outcome, calls] = await rig.fetch(LINE);
  assertEquals([outcome, rig.board.text(3)], [AWAY, "no route to host"]);
  const ms = rig.pauses.reduce((sum, pause) => sum + pause, 0);
  assert(ms > 15_000 && ms < 20_000 && calls < 30, `${calls} calls in ${ms} ms`);
});

Deno.test("Fetches + what does not pass + ends at once, each by its name", async () => {
  const refused = () => Promise.reject(new StoreError("refused", "not allowed"));
  const rig = rigOf(refused);
  assertEquals([...await rig.fetch(LINE), rig.board.text(3)], [FAILED, 1, "not allowed"]);
  const corrupt = () => Promise.reject(new StoreError("corrupt", "there are 9 bytes"));
  assertEquals(await rigOf(corrupt).fetch(LINE), [CORRUPT, 1]);
  assertEquals(await rigOf(() => Promise.resolve(undefined)).fetch(LINE), [MISSING, 1]);
  const mistaken = () => Promise.reject(new TypeError("x is not a function"));
  assertEquals(await rigOf(mistaken).fetch(LINE), [FAILED, 1]);
});

Deno.test("Fetches + stopped + a call that ends late touches nothing", async () => {
  const { promise, resolve } = Promise.withResolvers<StoredObject>();
  let signal: AbortSignal | undefined;
  const rig = rigOf((_, its) => {
    signal = its;
    return promise;
  });
  rig.board.ask(0, 7, 0, LINE, false, Int32Array.of(0), Int32Array.of(LINE), 1);
  rig.fetches.begin();
  rig.fetches.stop();
  assert(signal!.aborted, "the store is told");
  resolve(found(LINE));
  for (let turn = 0; turn < 20; turn++) await undefined;
  assertEquals([rig.memory[0], rig.board.ended()], [0, -1]);
});

// Regression: a whole call had to end within a time, and what had come of a slow one was dropped.
Deno.test("Fetches + a body that comes slowly + is not cut off, but one that does not come is", async () => {
  await using server = new FakeS3();
  const credentials = { accessKeyId: "AK", secretAccessKey: "a-secret-of-the-test" };
  await using store = S3Store.open(server.url, { credentials });
  const names = new ObjectNames("v");
  await store.putIfAbsent(names.chunk(7), new Uint8Array(2 * LINE).fill(9));
  const silenceMs = 1000;
  assert(SLOW_PARTS * SLOW_PAUSE_MS > 1.4 * silenceMs);
  const fetched = async (...faults: FakeFault[]) => {
    server.log.length = 0;
    server.faults = () => faults.shift();
    const board = new FetchBoard();
    const { promise, resolve } = Promise.withResolvers<void>();
    const fetches = new Fetches({
      ...{ board, memory: new Uint8Array(LINE), line: LINE, store, time: MACHINE_TIME, silenceMs },
      ownerOf: () => ({ names, volume: "" }),
      signal: () => void (board.ended() >= 0 && resolve()),
    });
    board.ask(0, 7, 0, LINE, false, Int32Array.of(0), Int32Array.of(LINE), 1);
    fetches.begin();
    await promise;
    return [board.outcome(0), server.log.length];
  };
  assertEquals(await fetched("slow", "denied"), [CAME, 1]);
  assertEquals(await fetched("hang", "denied"), [FAILED, 2]);
});

Deno.test("MACHINE_TIME + what was stopped + sleeps no more", async () => {
  const parent = new AbortController();
  // Its timer would be found by the test's sanitizer.
  const asleep = MACHINE_TIME.sleep(1e6, parent.signal);
  parent.abort();
  await asleep;
});
