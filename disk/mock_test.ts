import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { checkBackendConformance, mockBackend, MockCalls, mockSpec } from "../testing.ts";
import { NO_FUA } from "./calls.ts";
import { loadBackend } from "./load.ts";
import type { MockFault } from "./mock_faults.ts";
import { checkBackend } from "./shape.ts";

const block = (filling = 0) => new Uint8Array(512).fill(filling);

Deno.test("mockBackend is a conforming backend with the traits that it is told to have", async () => {
  await checkBackendConformance(mockBackend({ size: "2MiB", blockSize: 2048 }));
  const bare = mockBackend({
    ...{ flush: false, fua: false, trim: false, writeZeroes: false },
    ...{ synchronous: true, readOnly: true, size: 512 },
  });
  checkBackend(bare, "bare");
  const { flush, trim, writeZeroes, fua, synchronous, readOnly, size } = bare;
  assertEquals([flush, trim, writeZeroes], [undefined, undefined, undefined]);
  assertEquals([fua, synchronous, readOnly, size], [false, true, true, 512]);
  assertThrows(() => mockBackend({ size: 100 }), RangeError);
});

Deno.test("mockBackend records its calls in order, and counts all of them", () => {
  const disk = mockBackend({ calls: new MockCalls(4) });
  for (let call = 0; call < 3; call++) disk.readAt(block(), 512 * call);
  disk.writeAt(block(), 4096, { fua: true });
  disk.writeZeroes!(0, 8192, { mayUnmap: true });
  disk.trim!(512, 1024);
  disk.flush!();
  assertEquals([disk.calls.count(), disk.calls.count("readAt"), disk.calls.count("close")], [
    ...[7, 3, 0],
  ]);
  const none = { offset: 0, length: 0, fua: false, mayUnmap: false };
  // The latest four of seven calls.
  assertEquals(disk.calls.list(), [
    { ...none, op: "writeAt", offset: 4096, length: 512, fua: true },
    { ...none, op: "writeZeroes", length: 8192, mayUnmap: true },
    { ...none, op: "trim", offset: 512, length: 1024 },
    { ...none, op: "flush" },
  ]);
  disk.calls.clear();
  assertEquals([disk.calls.count(), disk.calls.count("readAt"), disk.calls.list()], [0, 0, []]);
});

function faulty(...faults: MockFault[]) {
  return mockBackend({ faults });
}

Deno.test("mockBackend throws and rejects, with an errno's name or without", async () => {
  const thrown = faulty({ effect: "throw", errno: "ENOSPC" });
  const error = assertThrows(() => thrown.flush!(), Error, "ENOSPC") as { code?: string };
  assertEquals(error.code, "ENOSPC");
  const rejected = faulty({ effect: "reject" });
  const plain = await assertRejects(async () => await rejected.flush!(), Error);
  assertEquals("code" in plain, false);
  assertThrows(() => faulty({ effect: "throw", errno: "EWHATEVER" }), RangeError, "EWHATEVER");
});

Deno.test("mockBackend works late: only then are the bytes there, or the error", async () => {
  const disk = faulty({ effect: "late", delayMs: 20, op: "writeAt" });
  const answer = disk.writeAt(block(1), 0, NO_FUA);
  assertEquals(disk.contents[0], 0);
  await answer;
  assertEquals(disk.contents[0], 1);
  const failing = faulty({ effect: "late", errno: "ETIMEDOUT" });
  await assertRejects(async () => await failing.readAt(block(), 0), Error, "ETIMEDOUT");
});

Deno.test("mockBackend never settles, counts short, settles twice, and loops", async () => {
  const never = faulty({ effect: "never" }).flush!();
  const marker = new Promise((resolve) => setTimeout(resolve, 10, "still waiting"));
  assertEquals(await Promise.race([never, marker]), "still waiting");
  assertEquals(faulty({ effect: "short" }).readAt(block(), 0) as unknown, 511);
  const seen: string[] = [];
  const twice = faulty({ effect: "twice" }).flush!() as unknown as PromiseLike<void>;
  assertThrows(() => twice.then(() => void seen.push("resolved"), () => void seen.push("no")));
  assertEquals(seen, ["resolved", "resolved", "no"]);
  const startedMs = performance.now();
  faulty({ effect: "loop", delayMs: 30 }).flush!();
  assert(performance.now() - startedMs >= 30);
});

Deno.test("mockBackend scribbles over a kept buffer when it is called the next time", () => {
  const disk = faulty({ effect: "keep", nth: 1 });
  const kept = block();
  disk.readAt(kept, 0);
  assertEquals(kept[0], 0);
  disk.flush!();
  assertEquals(kept, block(0xee));
});

Deno.test("mockBackend's faults strike by method, range, number and rate, the first that fits", () => {
  const disk = faulty(
    { effect: "short", op: "readAt", range: { offset: 4096, length: 512 } },
    { effect: "throw", op: ["writeAt", "trim"], nth: 2 },
  );
  const short = (offset: number) => disk.readAt(block(), offset) as unknown === 511;
  assertEquals([3584, 4096, 4608].map(short), [false, true, false]);
  assertEquals(disk.readAt(new Uint8Array(4096), 1024) as unknown, 4095);
  disk.trim!(0, 512);
  disk.flush!();
  assertThrows(() => disk.writeAt(block(), 0, NO_FUA));
  disk.writeAt(block(), 0, NO_FUA);
  const strikes = (seed: number) => {
    const rated = mockBackend({ seed, faults: [{ effect: "short", rate: 0.25 }] });
    return Array.from({ length: 400 }, () => rated.readAt(block(), 0) as unknown === 511);
  };
  const count = strikes(1).filter(Boolean).length;
  assert(count > 60 && count < 140, `${count} of 400`);
  assertEquals(strikes(1), strikes(1));
  assert(strikes(1).join() !== strikes(2).join());
});

Deno.test("mockSpec is data that opens to a mock backend, and shares bytes and record", async () => {
  const calls = new MockCalls();
  const contents = new SharedArrayBuffer(1 << 20);
  const spec = mockSpec({ size: "1MiB", calls, contents, blockSize: 4096, flush: false });
  const loaded = await loadBackend(structuredClone(spec));
  assertEquals(loaded.sharing, "single");
  const disk = await loaded.open(0, await loaded.share());
  assertEquals([disk.size, disk.blockSize, disk.flush], [1 << 20, 4096, undefined]);
  await disk.writeAt(new Uint8Array(4096).fill(1), 8192, NO_FUA);
  await loaded.close();
  assertEquals([calls.count("writeAt"), calls.count("close")], [1, 1]);
  assertEquals(new Uint8Array(contents)[8192], 1);
  assertThrows(() => mockSpec({ size: 5 }), RangeError);
  assertThrows(() => mockSpec({ faults: [{ effect: "throw", errno: "NO" }] }), RangeError);
});

Deno.test("mockSpec counts across threads, and loses no call", async () => {
  const writes = 10_000;
  const calls = new MockCalls(2 * writes);
  const contents = new SharedArrayBuffer(16 << 20);
  const spec = mockSpec({ calls, contents, sharing: "per-queue" });
  const url = new URL("../tests/mock_worker.ts", import.meta.url);
  const workers = [0, 1].map(() => new Worker(url, { type: "module" }));
  const ask = (worker: Worker, message: unknown) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = reject;
      worker.postMessage(message);
    });
  const askAll = (message: (queue: number) => unknown) =>
    Promise.all(workers.map((worker, queue) => ask(worker, message(queue))));
  const opened = await askAll((queue) => ({ spec, queue, writes }));
  assertEquals(opened, ["per-queue", "per-queue"]);
  await askAll(() => "go");
  for (const worker of workers) worker.terminate();
  assertEquals([calls.count("writeAt"), calls.count()], [2 * writes, 2 * writes]);
  const offsets = calls.list().map(({ offset }) => offset / 512).sort((a, b) => a - b);
  assertEquals(offsets.length, 2 * writes);
  assert(offsets.every((offset, index) => offset === index));
  const bytes = new Uint8Array(contents);
  assertEquals([0, writes].map((at) => bytes[at * 512]), [1, 2]);
});

Deno.test("MockCalls over the memory of another is the same record", () => {
  const calls = new MockCalls();
  const other = new MockCalls(calls.buffer);
  assertStrictEquals(other.buffer, calls.buffer);
  calls.add({ op: "flush", offset: 0, length: 0, fua: false, mayUnmap: false });
  assertEquals([other.count("flush"), other.list().length], [1, 1]);
});
