import { assert, assertEquals, assertMatch } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { FakeFile } from "../tests/fake_file.ts";
import { copyPlace } from "../tests/fake_user_copy.ts";
import { openMemory } from "../tests/memory_disk.ts";
import { QueueRig } from "../tests/queue_rig.ts";
import { EFAULT, EIO, ETIMEDOUT } from "../uapi/errno.ts";
import { IORING_OP_READ, IORING_OP_WRITE } from "../uapi/io_uring_sqe.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { FakeSqe } from "../uring/fake_ring.ts";
import { KIND_PATH } from "./slots.ts";

const BYTES = 4096;
const data = new Uint8Array(BYTES).map((_, index) => index * 7);
const WRITE = { op: UBLK_IO_OP_WRITE, sector: 64, sectors: 8, data };
const READ = { op: UBLK_IO_OP_READ, sector: 64, sectors: 8 };
const PATH = { path: "user-copy", depth: 2 } as const;

/** Records the path's own SQEs. */
function copiesOf(rig: QueueRig): FakeSqe[] {
  const copies: FakeSqe[] = [];
  rig.kernel.handler = (sqe, kernel) => {
    if ((sqe.kind & 0xff) === KIND_PATH) copies.push(sqe);
    rig.ublk.handler(sqe, kernel);
  };
  return copies;
}

Deno.test("UserCopyPath copies a WRITE's data before the backend sees it, a READ's after", () => {
  using rig = new QueueRig({ ...PATH, backend: mockBackend({ synchronous: true }) }).fetch();
  const copies = copiesOf(rig);
  assertEquals(rig.io(WRITE).results, [BYTES]);
  const read = rig.io(READ);
  assertEquals([read.results, read.data], [[BYTES], data]);
  assertEquals(copies.map(({ opcode }) => opcode), [IORING_OP_READ, IORING_OP_WRITE]);
  rig.stop();
});

Deno.test("UserCopyPath names queue and tag in the position, and no address in commands", () => {
  const backend = mockBackend({ synchronous: true });
  using rig = new QueueRig({ ...PATH, backend, queues: 3 }).fetch();
  const copies = copiesOf(rig);
  rig.ublk.submitIo(2, WRITE);
  const second = rig.ublk.submitIo(2, { ...WRITE, sector: 0 });
  rig.run(() => second.result !== undefined);
  assertEquals(
    copies.map(copyPlace),
    [0, 1].map((tag) => {
      return { queue: 2, tag, isMetadata: false, offset: 0 };
    }),
  );
  assertEquals([...rig.path.commands.addresses], new Array(6).fill(0));
  rig.stop();
});

Deno.test("UserCopyPath copies nothing for what carries no data, or has failed", () => {
  const backend = mockBackend({ synchronous: true, faults: [{ effect: "throw", nth: 2 }] });
  using rig = new QueueRig({ ...PATH, backend }).fetch();
  const copies = copiesOf(rig);
  assertEquals(rig.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  assertEquals(rig.io(READ).result, -EIO);
  assertEquals(copies, []);
  rig.stop();
});

for (const fault of [0, 512, -EFAULT]) {
  Deno.test(`UserCopyPath answers EIO where a copy gives ${fault}, and goes on`, () => {
    const backend = mockBackend({ synchronous: true });
    using rig = new QueueRig({ ...PATH, backend }).fetch();
    for (const io of [WRITE, READ]) {
      rig.ublk.faults = { copy: fault };
      assertEquals(rig.io(io).results, [-EIO]);
      assertMatch(rig.log().join(), /queue 0 tag \d: copied -?\d+ of 4096 bytes of data/);
      assertEquals(rig.io(io).results, [BYTES]);
    }
    // Data that was not copied in was not written.
    assertEquals(backend.calls.list().filter(({ op }) => op === "writeAt").length, 1);
    rig.stop();
  });
}

Deno.test("UserCopyPath serves memory in its place, and calls no method for data", () => {
  using disk = openMemory(1 << 20);
  const never = () => {
    throw new Error("called");
  };
  const backend = { ...disk, readAt: never, writeAt: never };
  using rig = new QueueRig({ ...PATH, backend }).fetch();
  assertEquals(rig.io(WRITE).results, [BYTES]);
  assertEquals(rig.io(READ).data, data);
  rig.stop();
});

Deno.test("UserCopyPath serves a file through the ring, in parts", () => {
  const file = new FakeFile(1 << 20);
  using rig = new QueueRig({ ...PATH, file, backend: file.backend(3) }).fetch();
  assertEquals(rig.io(WRITE).results, [BYTES]);
  assertEquals(file.bytes.subarray(64 * 512, 64 * 512 + BYTES), data);
  assertEquals(rig.io(READ).data, data);
  rig.stop();
});

Deno.test("UserCopyPath answers ETIMEDOUT at the deadline, and copies nothing of a late answer", async () => {
  let settle = () => {};
  const backend = {
    ...mockBackend(),
    readAt: (buffer: Uint8Array) =>
      new Promise<void>((done) => {
        settle = () => {
          buffer.fill(9);
          done();
        };
      }),
  };
  using rig = new QueueRig({ ...PATH, backend }).fetch();
  const copies = copiesOf(rig);
  const request = rig.start(READ);
  rig.expire();
  rig.turn();
  assertEquals(request.results, [-ETIMEDOUT]);
  settle();
  await rig.runAsync(() => rig.ring.pending === 0);
  assertEquals([copies.length, request.data[0]], [0, 0]);
  rig.stop();
});

Deno.test("UserCopyPath lets a device go that is stopped while copies are under way", () => {
  const backend = mockBackend({ synchronous: true });
  using rig = new QueueRig({ ...PATH, backend }).fetch();
  const held: (() => void)[] = [];
  const { handler } = rig.kernel;
  rig.kernel.handler = (sqe, kernel) => {
    if ((sqe.kind & 0xff) !== KIND_PATH) return handler(sqe, kernel);
    held.push(() => handler(sqe, kernel));
  };
  const requests = [rig.ublk.submitIo(0, WRITE), rig.ublk.submitIo(0, { ...READ, sector: 0 })];
  rig.run(() => held.length === 2);
  rig.ublk.stop();
  rig.turn();
  assert(rig.server.running);
  for (const run of held) run();
  rig.stop();
  assertEquals(requests.map(({ results }) => results), [[BYTES], [BYTES]]);
});
