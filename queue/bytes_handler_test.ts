import { assert, assertEquals, assertMatch } from "@std/assert";
import { mockBackend, type MockOp } from "../testing.ts";
import { isMapped } from "../tests/maps.ts";
import { withoutMemory } from "../tests/no_memory.ts";
import { nextTurn, QueueRig } from "../tests/queue_rig.ts";
import { EINVAL, EIO, ENOMEM, ENOSPC, EOPNOTSUPP, ETIMEDOUT } from "../uapi/errno.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import { bufferAt } from "../uring/mapping.ts";

const READ = { op: UBLK_IO_OP_READ, sectors: 8 };
const WRITE = { op: UBLK_IO_OP_WRITE, sectors: 8 };
const BYTES = 4096;

Deno.test("BytesHandler calls the method of each operation with offset, length and flags", () => {
  const backend = mockBackend({ synchronous: true });
  using rig = new QueueRig({ backend }).fetch();
  rig.io({ ...WRITE, sector: 16, flags: UBLK_IO_F_FUA });
  rig.io({ ...WRITE, sector: 24 });
  rig.io({ ...READ, sector: 16, sectors: 128 });
  rig.io({ op: UBLK_IO_OP_FLUSH });
  rig.io({ op: UBLK_IO_OP_DISCARD, sector: 40, sectors: 2048 });
  rig.io({ op: UBLK_IO_OP_WRITE_ZEROES, sector: 8, sectors: 8, flags: UBLK_IO_F_NOUNMAP });
  rig.io({ op: UBLK_IO_OP_WRITE_ZEROES, sector: 8, sectors: 8 });
  const call = (op: MockOp, offset: number, length: number, fua = false, mayUnmap = false) => {
    return { op, offset, length, fua, mayUnmap };
  };
  assertEquals(backend.calls.list(), [
    call("writeAt", 8192, BYTES, true),
    call("writeAt", 12288, BYTES),
    call("readAt", 8192, 65536),
    call("flush", 0, 0),
    call("trim", 20480, 2048 * 512),
    call("writeZeroes", 4096, BYTES),
    call("writeZeroes", 4096, BYTES, false, true),
  ]);
  rig.stop();
});

Deno.test("BytesHandler carries offsets beyond 2^32 sectors", () => {
  const offsets: number[] = [];
  const backend = { ...mockBackend(), trim: (offset: number) => void offsets.push(offset) };
  using rig = new QueueRig({ backend }).fetch();
  const sectors = [2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, 2 ** 44 - 8];
  for (const sector of sectors) rig.io({ op: UBLK_IO_OP_DISCARD, sector, sectors: 1 });
  assertEquals(offsets, sectors.map((sector) => sector * 512));
});

Deno.test("BytesHandler answers EOPNOTSUPP where a method is absent", () => {
  const options = { flush: false, trim: false, writeZeroes: false, synchronous: true };
  using rig = new QueueRig({ backend: mockBackend(options) }).fetch();
  for (const op of [UBLK_IO_OP_FLUSH, UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES, 200]) {
    assertEquals(rig.io({ op, sectors: 8 }).result, -EOPNOTSUPP, `operation ${op}`);
  }
  rig.stop();
});

Deno.test("BytesHandler passes on the errno of what is thrown or rejected, now or later", async () => {
  for (const effect of ["throw", "reject", "late"] as const) {
    for (const op of [UBLK_IO_OP_READ, UBLK_IO_OP_FLUSH]) {
      const backend = mockBackend({ faults: [{ effect, errno: "ENOSPC", nth: 1 }] });
      using rig = new QueueRig({ backend }).fetch();
      assertEquals((await rig.ioAsync({ op, sectors: 8 })).result, -ENOSPC, `${effect} of ${op}`);
      assertMatch(rig.log().join(), /queue 0 tag 0: operation .* ENOSPC; answering errno 28/);
      // The tag still works.
      assertEquals((await rig.ioAsync({ op, sectors: 8 })).result, op === 0 ? BYTES : 0);
      assertEquals([rig.stats().errors, rig.stats().inFlight], [1, 0]);
      rig.stop();
    }
  }
});

Deno.test("BytesHandler takes a short count for an error and never for a result", async () => {
  const wrong = [BYTES - 1, 0, NaN, Infinity, -5, "4096", true, null, {}, () => {}, 4096n];
  for (const value of wrong) {
    for (const answer of [value, Promise.resolve(value)]) {
      const backend = { ...mockBackend(), readAt: () => answer as unknown as void };
      using rig = new QueueRig({ backend }).fetch();
      assertEquals((await rig.ioAsync(READ)).result, -EIO, String(value));
      assertMatch(rig.log().join(), /the backend returned .* for 4096 bytes; answering EIO/);
    }
  }
  const whole = { ...mockBackend(), readAt: () => BYTES as unknown as void };
  using rig = new QueueRig({ backend: whole }).fetch();
  assertEquals(rig.io(READ).result, BYTES);
});

/** Objects that behave like a Promise. A request must get exactly one answer from each. */
const THENABLES: Record<string, () => unknown> = {
  "settles twice": () => ({
    then(resolve: () => void, reject: (reason: unknown) => void) {
      resolve();
      reject(new Error("late"));
      resolve();
    },
  }),
  "settles and then throws": () => ({
    then(resolve: () => void) {
      resolve();
      throw new Error("after all");
    },
  }),
  "is a Promise with a `then` of its own that settles twice": () =>
    Object.assign(Promise.resolve(), {
      then(resolve: () => void) {
        resolve();
        resolve();
      },
    }),
};

for (const [what, make] of Object.entries(THENABLES)) {
  Deno.test(`BytesHandler answers once where a thenable ${what}`, async () => {
    const backend = { ...mockBackend(), readAt: () => make() as void };
    using rig = new QueueRig({ backend }).fetch();
    assertEquals((await rig.ioAsync(READ)).results, [BYTES]);
    await nextTurn();
    rig.stop();
    assertEquals(rig.stats().inFlight, 0);
  });
}

const no = Object.assign(new Error("no"), { code: "EINVAL" });
const THROWING_THENABLES: Record<string, () => unknown> = {
  "whose `then` throws": () => ({
    then() {
      throw no;
    },
  }),
  "whose `then` cannot be read": () => ({
    get then() {
      throw no;
    },
  }),
  // Regression: `Promise.resolve()` reads `constructor`. The request was answered at once, and
  // again when its deadline passed, while the tag already held another request.
  "that is a Promise whose `constructor` cannot be read": () =>
    Object.defineProperty(Promise.resolve(), "constructor", {
      get() {
        throw no;
      },
    }),
};

for (const [what, make] of Object.entries(THROWING_THENABLES)) {
  Deno.test(`BytesHandler answers once, with an errno, for a thenable ${what}`, async () => {
    const backend = { ...mockBackend(), readAt: () => make() as void };
    using rig = new QueueRig({ backend }).fetch();
    const request = await rig.ioAsync(READ);
    rig.expire();
    await nextTurn();
    assertEquals(request.results, [-EINVAL]);
    rig.stop();
  });
}

/** Makes a backend whose reads are settled by the test, and which keeps its buffers. */
function manualBackend() {
  const reads: { buffer: Uint8Array; settle: () => void; fail: (reason: unknown) => void }[] = [];
  const backend = {
    ...mockBackend(),
    readAt: (buffer: Uint8Array) =>
      new Promise<void>((settle, fail) => void reads.push({ buffer, settle, fail })),
  };
  return { backend, reads };
}

Deno.test("BytesHandler answers ETIMEDOUT at the deadline, and keeps the late write out of the tag's next request", async () => {
  const { backend, reads } = manualBackend();
  using rig = new QueueRig({ backend, depth: 2 }).fetch();
  const first = rig.start(READ);
  rig.expire();
  assertEquals(first.results, [-ETIMEDOUT]);
  assertMatch(rig.log().join(), /queue 0 tag 0: no answer from the backend in 2\d\d\d ms/);
  assertEquals([rig.stats().timeouts, rig.stats().errors, rig.stats().inFlight], [1, 1, 0]);

  const second = rig.start(READ);
  reads[1].buffer.fill(2);
  // Now the backend's first read finishes late.
  reads[0].buffer.fill(1);
  reads[0].settle();
  await nextTurn();
  assertEquals([first.results, second.results], [[-ETIMEDOUT], []]);
  reads[1].settle();
  await rig.runAsync(() => second.result !== undefined);
  assertEquals([second.results, second.data], [[BYTES], new Uint8Array(BYTES).fill(2)]);
  rig.stop();
});

Deno.test("BytesHandler has an overdue request wait where there is no memory for another buffer", async () => {
  const { backend, reads } = manualBackend();
  using rig = new QueueRig({ backend, depth: 3 }).fetch();
  const overdue = [rig.start(READ), rig.start(READ)];
  // Regression: this once ended the service, together with requests that could still be answered.
  withoutMemory(() => {
    rig.expire();
    rig.expire();
  });
  assertEquals(overdue.map(({ results }) => results), [[], []]);
  const lines = rig.log().filter((line) => line.includes("no memory"));
  assertEquals(lines.length, 1, "it is said once");
  assertMatch(lines[0], /overdue requests, which wait on: .*mmap 65536/);
  // There is memory for one of the two.
  withoutMemory(() => rig.expire(), 1);
  assertEquals(overdue.map(({ results }) => results), [[-ETIMEDOUT], []]);
  assertEquals(rig.log().filter((line) => line.includes("no memory")).length, 1, "it is so again");
  // The backend answers the other request after all.
  reads[1].buffer.fill(6);
  reads[1].settle();
  await rig.runAsync(() => overdue[1].result !== undefined);
  assertEquals(overdue[1].data, new Uint8Array(BYTES).fill(6));
  reads[0].settle();
  await nextTurn();
  assertEquals(rig.stats().inFlight, 0);
  rig.stop();
});

Deno.test("BytesHandler survives the rejection of a refused Promise whose buffer it cannot keep", async () => {
  const backend = {
    ...mockBackend(),
    synchronous: true,
    readAt: () => Promise.reject(new Error("no")),
  };
  using rig = new QueueRig({ backend }).fetch();
  let result: number | undefined;
  withoutMemory(() => result = rig.io(READ).result);
  assertEquals(result, -ENOMEM);
  // The handler must handle the rejection; uncaught, it would fail this test.
  await nextTurn();
  rig.stop();
});

Deno.test("BytesHandler gives a slot's WRITE to the buffer that it has after a deadline", async () => {
  const { backend, reads } = manualBackend();
  using rig = new QueueRig({ backend, depth: 2 }).fetch();
  rig.start(READ);
  rig.expire();
  const data = new Uint8Array(BYTES).map((_, index) => index);
  const write = rig.ublk.submitIo(0, { ...WRITE, data });
  // The driver has copied the data by now. A late write to the old buffer must change nothing.
  reads[0].buffer.fill(1);
  await rig.runAsync(() => write.result !== undefined);
  assertEquals(write.results, [BYTES]);
  assertEquals(backend.contents.slice(0, BYTES).findIndex((byte, at) => byte !== data[at]), -1);
});

Deno.test("BytesHandler refuses what comes once as many requests as it has slots are overdue, until one settles", async () => {
  const { backend, reads } = manualBackend();
  using rig = new QueueRig({ backend, depth: 2 }).fetch();
  for (let io = 0; io < 2; io++) {
    rig.start(READ);
    rig.expire();
  }
  // The backend is not called any more, because its buffer could not be quarantined. Regression: it
  // once was called, and its late write changed the data of the tag's next READ.
  assertEquals([rig.io(READ).result, reads.length], [-EIO, 2]);
  assertMatch(rig.log().join(), /too many overdue requests; answering EIO/);
  reads[0].fail(new Error("at last"));
  await nextTurn();
  const request = rig.start(READ);
  reads[2].settle();
  await rig.runAsync(() => request.result !== undefined);
  assertEquals(request.results, [BYTES]);
  rig.stop();
});

Deno.test("BytesHandler answers EIO for a Promise of a `synchronous` backend, whose buffer stays its own", async () => {
  const { backend, reads } = manualBackend();
  const failing = { ...backend, synchronous: true, flush: () => Promise.reject(new Error("no")) };
  const rig = new QueueRig({ backend: failing, depth: 2 }).fetch();
  assertEquals([rig.io(READ).result, rig.handler.outstanding], [-EIO, 0]);
  assertMatch(rig.log().join(), /declares `synchronous` returned a Promise/);
  // The handler must handle this rejection; uncaught, it would fail this test.
  assertEquals(rig.io({ op: UBLK_IO_OP_FLUSH }).result, -EIO);
  rig.stop();
  rig[Symbol.dispose]();
  // The service has ended and the event loop runs again. Only now does the backend continue.
  // Regression: this once crashed the process, because the buffer had been unmapped.
  reads[0].buffer.fill(1);
  reads[0].settle();
  await nextTurn();
});

Deno.test("BytesHandler leaves the buffers mapped where a Promise is still out when the service ends", () => {
  const { backend, reads } = manualBackend();
  const rig = new QueueRig({ backend, depth: 2 }).fetch();
  rig.start(READ);
  const [address] = rig.path.commands.addresses;
  rig[Symbol.dispose]();
  // Check the mapping before touching it, because touching unmapped memory would crash.
  assert(isMapped(address), "the buffer is mapped");
  reads[0].buffer.fill(7);
  assertEquals(new Uint8Array(bufferAt(address, 1))[0], 7);
});

Deno.test("BytesHandler unmaps the buffers when the service ends with nothing out", () => {
  const rig = new QueueRig({ backend: mockBackend(), depth: 2 }).fetch();
  const [address] = rig.path.commands.addresses;
  assert(isMapped(address));
  rig.stop();
  rig[Symbol.dispose]();
  assert(!isMapped(address), "the buffer is unmapped");
});
