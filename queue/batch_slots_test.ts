import { assert, assertEquals } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { FakeFile } from "../tests/fake_file.ts";
import { nextTurn, QueueRig, type RigOptions } from "../tests/queue_rig.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import { EBUSY, EINVAL, EIO, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import {
  UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK,
  UBLK_BATCH_F_HAS_BUF_ADDR,
  UBLK_U_IO_COMMIT_IO_CMDS,
  UBLK_U_IO_FETCH_IO_CMDS,
  UBLK_U_IO_PREP_IO_CMDS,
} from "../uapi/ublk_batch.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { FakeSqe } from "../uring/fake_ring.ts";
import { BatchSlots } from "./batch_slots.ts";

const BYTES = 4096;
const FLUSH = { op: UBLK_IO_OP_FLUSH };
const READ = { op: UBLK_IO_OP_READ, sectors: 8 };

/** Makes a rig with batch I/O over a backend of bytes. */
function batchRig(options: Partial<RigOptions> = {}): QueueRig {
  return new QueueRig({ backend: mockBackend({ synchronous: true }), batch: true, ...options });
}

/** Returns the number of commands so far with an opcode. */
function count(rig: QueueRig, cmdOp: number): number {
  return rig.ublk.commands.get(cmdOp) ?? 0;
}

Deno.test("BatchSlots answers all requests of a turn by one command for each queue", () => {
  using rig = batchRig({ queues: 2, depth: 200, entries: 16, cqEntries: 1024 }).fetch();
  const requests = rig.ublk.plug(() =>
    [0, 1].flatMap((queue) =>
      Array.from({ length: 200 }, (_, sector) => rig.ublk.submitIo(queue, { ...READ, sector }))
    )
  );
  // Two completions per queue, because one holds at most 128 tags.
  rig.turn();
  rig.turn();
  assertEquals(new Set(requests.map(({ result }) => result)), new Set([BYTES]));
  assertEquals(count(rig, UBLK_U_IO_COMMIT_IO_CMDS), 2);
  rig.stop();
});

Deno.test("BatchSlots prepares each queue by one command, and fetches by two", () => {
  const seen: FakeSqe[] = [];
  const rig = batchRig({ queues: 3, depth: 5 });
  using _ = rig;
  const { handler } = rig.kernel;
  rig.kernel.handler = (sqe, kernel) => {
    seen.push(sqe);
    handler(sqe, kernel);
  };
  rig.fetch();
  const commands = seen.filter(({ cmdOp }) => cmdOp !== 0);
  const elements = UBLK_BATCH_F_HAS_BUF_ADDR << 16;
  assertEquals(commands.map(({ cmdOp, words }) => [cmdOp, words[12]]), [
    ...[0, 1, 2].map((queue) => [UBLK_U_IO_PREP_IO_CMDS, queue | elements]),
    ...[0, 0, 1, 1, 2, 2].map((queue) => [UBLK_U_IO_FETCH_IO_CMDS, queue]),
  ]);
  // Each FETCH has its own buffer.
  assertEquals(commands.slice(3).map(({ words }) => words[10]), [0, 1, 2, 3, 4, 5]);
  assertEquals(rig.slots.live, 6);
  rig.stop();
});

const PATHS: [DataPathName, number, number][] = [
  ["copy", 16, UBLK_BATCH_F_HAS_BUF_ADDR],
  ["user-copy", 8, 0],
  ["zero-copy", 8, 0],
  ["auto-zero-copy", 8, 0],
  ["auto-zero-copy-fallback", 8, UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK],
];
for (const [path, elementBytes, flags] of PATHS) {
  Deno.test(`BatchSlots carries ${path} in elements of ${elementBytes} bytes`, () => {
    const file = new FakeFile(1 << 20);
    using rig = batchRig({ path, file, backend: file.backend(2) }).fetch();
    let commit: FakeSqe | undefined;
    const { handler } = rig.kernel;
    rig.kernel.handler = (sqe, kernel) => {
      if (sqe.cmdOp === UBLK_U_IO_COMMIT_IO_CMDS) commit = sqe;
      handler(sqe, kernel);
    };
    const data = new Uint8Array(BYTES).map((_, index) => index * 3);
    assertEquals(rig.io({ op: UBLK_IO_OP_WRITE, sectors: 8, sector: 8, data }).results, [BYTES]);
    assertEquals(rig.io({ ...READ, sector: 8 }).data, data);
    assertEquals(commit!.words[12] >>> 16, flags);
    assertEquals(commit!.words[13], 1 | (elementBytes << 16));
    rig.stop();
    assertEquals(rig.log(), []);
  });
}

Deno.test("BatchSlots carries an errno", () => {
  const backend = mockBackend({
    synchronous: true,
    faults: [{ effect: "throw", errno: "ENOSPC", nth: 1 }],
  });
  using rig = batchRig({ backend }).fetch();
  assertEquals([rig.io(READ).result, rig.io(READ).result], [-ENOSPC, BYTES]);
  rig.stop();
});

// Regression: after a command had lost a tag, completions of all commands were ignored.
for (const refused of [0, 1, 3]) {
  Deno.test(`BatchSlots commits what comes after element ${refused} of 4, which is refused`, () => {
    using rig = batchRig().fetch();
    rig.ublk.faults = { commitTag: refused };
    const requests = rig.ublk.plug(() => [0, 1, 2, 3].map(() => rig.ublk.submitIo(0, READ)));
    for (let turn = 0; turn < 6; turn++) rig.turn();
    // The driver no longer has the refused tag. Only its request is lost.
    const answers = requests.map(({ result }) => result);
    assertEquals(answers, [0, 1, 2, 3].map((tag) => tag === refused ? undefined : BYTES));
    assertEquals(count(rig, UBLK_U_IO_COMMIT_IO_CMDS), refused === 3 ? 1 : 2);
    const lost = refused === 0 ? EBUSY : EIO;
    assertEquals([rig.server.lostErrno, rig.server.running], [lost, true]);
    assertEquals(rig.io(FLUSH).result, 0);
  });
}

Deno.test("BatchSlots answers one request at a time by one system call for each", () => {
  using rig = batchRig().fetch();
  for (let time = 0; time < 300; time++) {
    const enters = rig.kernel.enters;
    const request = rig.ublk.submitIo(0, READ);
    rig.turn();
    rig.turn();
    assertEquals([request.results, rig.kernel.enters - enters], [[BYTES], 2]);
    // Only the request's completion has arrived: the COMMIT was silent.
    assertEquals([rig.ring.ready(), rig.ring.pending], [0, 0]);
  }
  rig.stop();
});

Deno.test("BatchSlots hears of a COMMIT of one that fails, and uses no buffer twice at a time", () => {
  const buffers = new Set<number>();
  using rig = batchRig({ depth: 8 }).fetch();
  const { handler } = rig.kernel;
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.cmdOp === UBLK_U_IO_COMMIT_IO_CMDS) buffers.add(sqe.words[4]);
    handler(sqe, kernel);
  };
  rig.ublk.faults = { commitTag: 0 };
  const lost = rig.ublk.submitIo(0, READ);
  for (let turn = 0; turn < 3; turn++) rig.turn();
  assertEquals([lost.result, rig.server.lostErrno], [undefined, EBUSY]);
  for (let time = 0; time < 100; time++) {
    // One request, then several, in turn, with other pending SQEs in between.
    const some = rig.ublk.plug(() =>
      Array.from({ length: 1 + time % 3 }, (_, sector) => rig.ublk.submitIo(0, { ...READ, sector }))
    );
    rig.run(() => some.every(({ result }) => result === BYTES));
  }
  assert(buffers.size <= 3, `${buffers.size} buffers`);
});

Deno.test("BatchSlots keeps the elements of a COMMIT that the kernel has not taken yet", () => {
  const settle: (() => void)[] = [];
  const backend = { ...mockBackend(), flush: () => new Promise<void>((done) => settle.push(done)) };
  using rig = batchRig({ backend }).fetch();
  const requests = [0, 1].map(() => rig.start(FLUSH));
  // Two turns of answers; in the first the kernel is short of memory.
  const { slots } = rig;
  for (const tag of [requests[0].tag, requests[1].tag]) {
    slots.answer(tag, 0);
    slots.flush();
  }
  rig.turn();
  assertEquals(requests.map(({ results }) => results), [[0], [0]]);
  assertEquals(count(rig, UBLK_U_IO_COMMIT_IO_CMDS), 2);
});

Deno.test("BatchSlots gives a FETCH its buffer anew when it is used up, and loses no tag", () => {
  using rig = batchRig({ fetchBytes: 6, depth: 8 }).fetch();
  const before = count(rig, UBLK_U_IO_FETCH_IO_CMDS);
  for (let batch = 0; batch < 20; batch++) {
    const requests = rig.ublk.plug(() =>
      Array.from({ length: 8 }, () => rig.ublk.submitIo(0, READ))
    );
    rig.run(() => requests.every(({ result }) => result === BYTES));
  }
  // A buffer holds three tags.
  assert(count(rig, UBLK_U_IO_FETCH_IO_CMDS) - before >= 160 / 3 - 2);
  rig.stop();
});

Deno.test("BatchSlots uses a FETCH's whole buffer, and that more than once", () => {
  // A page holds 2048 tags.
  using rig = batchRig({ depth: 128, entries: 64 }).fetch();
  for (let batch = 0; batch < 400; batch++) {
    const requests = rig.ublk.plug(() =>
      Array.from({ length: 128 }, () => rig.ublk.submitIo(0, FLUSH))
    );
    rig.run(() => requests.every(({ result }) => result === 0));
  }
  assertEquals(count(rig, UBLK_U_IO_FETCH_IO_CMDS), 2 + Math.floor(399 * 128 / 2048));
  rig.stop();
});

Deno.test("BatchSlots fetches again where a FETCH ends without an error", () => {
  using rig = batchRig().fetch();
  for (let time = 0; time < 3; time++) {
    rig.ublk.batches[0].end(0);
    rig.turn();
    rig.turn();
    assertEquals([rig.ublk.batches[0].fetches, rig.slots.live], [2, 2]);
    assertEquals(rig.io(READ).result, BYTES);
  }
  rig.stop();
});

Deno.test("BatchSlots goes on with the FETCH that is left when one fails, and keeps the errno", () => {
  using rig = batchRig().fetch();
  rig.ublk.batches[0].end(-ENOMEM);
  rig.turn();
  assertEquals([rig.server.lostErrno, rig.slots.live, rig.server.running], [ENOMEM, 1, true]);
  assertEquals(rig.io(READ).result, BYTES);
});

Deno.test("BatchSlots ends where a device is aborted, once what is outstanding is answered", () => {
  const backend = mockBackend({ faults: [{ effect: "never" }] });
  using rig = batchRig({ backend }).fetch();
  rig.start(READ);
  rig.ublk.batches[0].abort();
  for (let turn = 0; turn < 3; turn++) rig.turn();
  assertEquals([rig.server.lostErrno, rig.server.running, rig.slots.live], [0, true, 0]);
  rig.expire();
  assertEquals(rig.server.running, false);
});

Deno.test("BatchSlots serves Promises, several of which are answered by one command", async () => {
  const settle: (() => void)[] = [];
  const backend = { ...mockBackend(), flush: () => new Promise<void>((done) => settle.push(done)) };
  using rig = batchRig({ backend }).fetch();
  const requests = [0, 1, 2].map(() => rig.start(FLUSH));
  for (const done of settle) done();
  await nextTurn();
  rig.turn();
  assertEquals(requests.map(({ result }) => result), [0, 0, 0]);
  assertEquals(count(rig, UBLK_U_IO_COMMIT_IO_CMDS), 1);
  rig.stop();
});

Deno.test("BatchSlots of two threads share a queue that one of them prepares", () => {
  using first = batchRig({ depth: 16, fetchBytes: 8 }).fetch();
  using second = batchRig({ depth: 16, ublk: first.ublk, prepare: false }).fetch();
  const { ublk } = first;
  assertEquals(count(first, UBLK_U_IO_PREP_IO_CMDS), 1);
  for (let batch = 0; batch < 60; batch++) {
    const requests = ublk.plug(() => Array.from({ length: 16 }, () => ublk.submitIo(0, READ)));
    for (let turn = 0; requests.some(({ result }) => result === undefined); turn++) {
      assert(turn < 100, "it hangs");
      first.turn();
      second.turn();
    }
  }
  // The driver delivers everything to the oldest FETCH until its buffer is full.
  const [some, others] = [first.stats().reads, second.stats().reads];
  assertEquals(some + others, 960);
  assert(some > 100 && others > 100, `${some} and ${others}`);
  ublk.stop();
  first.stop();
  second.stop();
});

Deno.test("BatchSlots.fetchAll tells the errno with which the kernel refuses to prepare", () => {
  const rig = batchRig();
  using _ = rig;
  const { handler } = rig.kernel;
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.cmdOp !== UBLK_U_IO_PREP_IO_CMDS) return handler(sqe, kernel);
    kernel.complete(sqe.userData, sqe.kind, -EINVAL);
  };
  assertEquals(rig.server.fetch(), EINVAL);
});

Deno.test("BatchSlots calls what is to be called before each tag", () => {
  const seen: [number, number][] = [];
  const backend = {
    ...mockBackend({ synchronous: true }),
    beforeFetch: (queue: number, tag: number) => void seen.push([queue, tag]),
  };
  const rig = batchRig({ backend, depth: 2 });
  using _ = rig;
  assertEquals(rig.server.fetch(backend.beforeFetch), 0);
  assertEquals(seen, [[0, 0], [0, 1]]);
});

Deno.test("BatchSlots keeps its memory while the kernel may write to it", () => {
  const rig = batchRig().fetch();
  assert(rig.slots instanceof BatchSlots && rig.slots.live === 2);
  rig[Symbol.dispose]();
  // Late tags are written to memory that is still mapped.
  rig.ublk.batches[0].dispatch(() => true, Infinity);
});
