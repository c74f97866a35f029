import { assert, assertEquals, assertThrows } from "@std/assert";
import { EBUSY, EINVAL, EIO, ENODEV } from "../uapi/errno.ts";
import {
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import { fakeRing } from "../uring/fake_ring.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { Mapping } from "../uring/mapping.ts";
import { prepUringCmd, put64 } from "../uring/sqe.ts";
import type { FakeDataMode } from "./fake_slot.ts";
import { FakeUblk } from "./fake_ublk.ts";

// Stays open for the life of the process. Opened here so that no test's sanitizer reports a leak.
openAllOfLibc();

const BUFFER_BYTES = 4096;

/** A device with a buffer per tag, and functions to send single commands. */
function setUp(depth: number, data?: FakeDataMode) {
  const ublk = new FakeUblk({ depth, data });
  const { ring, kernel } = fakeRing({ entries: 16, handler: ublk.handler });
  const memory = Mapping.anonymous(depth * BUFFER_BYTES);
  const address = (tag: number) => memory.address + tag * BUFFER_BYTES;
  const bytes = (tag: number) => new Uint8Array(memory.buffer(tag * BUFFER_BYTES, BUFFER_BYTES));
  const send = (cmdOp: number, tag: number, result = 0, at = address(tag)) => {
    const sqe = prepUringCmd(ring, 3, cmdOp, tag, 0);
    ring.sqes[sqe + 12] = tag << 16;
    ring.sqes[sqe + 13] = result;
    put64(ring.sqes, sqe + 14, at);
    ring.enter(0);
  };
  /** Returns [tag, result] of each completion. */
  const receive = () => {
    ring.enter(0);
    const got: [number, number][] = [];
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      got.push([ring.cqes[at], ring.cqes[at + 2]]);
      ring.seen();
    }
    return got;
  };
  const fetch = (tag: number, at?: number) => send(UBLK_U_IO_FETCH_REQ, tag, 0, at);
  const commit = (tag: number, result: number, at?: number) =>
    send(UBLK_U_IO_COMMIT_AND_FETCH_REQ, tag, result, at);
  const getData = (tag: number) => send(UBLK_U_IO_NEED_GET_DATA, tag);
  return {
    ...{ ublk, kernel, memory, bytes, receive, fetch, commit, getData },
    [Symbol.dispose]: () => memory[Symbol.dispose](),
  };
}

Deno.test("FakeUblk copies a WRITE's data before its completion, a READ's at its commit", () => {
  using it = setUp(2);
  it.fetch(0);
  assertEquals(it.ublk.ready, false);
  it.fetch(1);
  assertEquals(it.ublk.ready, true);
  assertEquals(it.receive(), []);

  const sector = 2 ** 40 + 8;
  const write = it.ublk.submitIo(0, {
    ...{ op: UBLK_IO_OP_WRITE, sector, sectors: 2, flags: 0x2000 },
    data: new Uint8Array(1024).fill(7),
  });
  assertEquals(it.receive(), [[0, 0]]);
  assertEquals(it.bytes(0).subarray(0, 1024), write.data);
  const at = it.memory.address;
  assertEquals([...it.ublk.descriptors[0].subarray(0, 6)], [
    ...[0x2001, 2, 8, 2 ** 8],
    ...[at % 2 ** 32, Math.floor(at / 2 ** 32)],
  ]);

  const read = it.ublk.submitIo(0, { op: UBLK_IO_OP_READ, sectors: 1 });
  assertEquals(it.receive(), [[1, 0]]);
  it.bytes(1).fill(9);
  assertEquals(read.result, undefined);
  it.commit(1, 512);
  assertEquals([read.result, read.data], [512, new Uint8Array(512).fill(9)]);
  it.commit(0, -EIO);
  assertEquals(write.result, -EIO);
  it.ublk.assertAnsweredOnce();
});

Deno.test("FakeUblk lets a request wait for a free tag", async () => {
  using it = setUp(1);
  it.fetch(0);
  const first = it.ublk.submitIo(0, { op: UBLK_IO_OP_FLUSH });
  const second = it.ublk.submitIo(0, { op: UBLK_IO_OP_FLUSH });
  assertEquals(it.receive(), [[0, 0]]);
  assertEquals([first.tag, second.tag, it.ublk.heldByServer], [0, -1, 1]);
  it.commit(0, 0);
  assertEquals(it.receive(), [[0, 0]]);
  assertEquals([await first.done, second.tag, second.result], [0, 0, undefined]);
});

Deno.test("FakeUblk copies data only on request, with needGetData", () => {
  using it = setUp(1, "needGetData");
  it.fetch(0, 0);
  const data = new Uint8Array(512).fill(3);
  const write = it.ublk.submitIo(0, { op: UBLK_IO_OP_WRITE, sectors: 1, data });
  assertEquals(it.receive(), [[0, 1]]);
  assertEquals(it.bytes(0)[0], 0);
  it.getData(0);
  assertEquals(it.receive(), [[0, 0]]);
  assertEquals(it.bytes(0).subarray(0, 512), data);
  it.commit(0, 512, 0);
  assertEquals(write.result, 512);
  it.ublk.assertAnsweredOnce();
});

Deno.test("FakeUblk.getDataFault shrinks the descriptor, or gives the tag to another request", () => {
  using it = setUp(1, "needGetData");
  it.fetch(0, 0);
  it.ublk.submitIo(0, { op: UBLK_IO_OP_WRITE, sectors: 4, data: new Uint8Array(2048).fill(1) });
  it.receive();
  it.ublk.getDataFault = { sectors: 1 };
  it.getData(0);
  assertEquals([it.receive(), it.ublk.descriptors[0][1]], [[[0, 0]], 1]);
  assertEquals([it.bytes(0)[511], it.bytes(0)[512]], [1, 0]);
  it.commit(0, -EIO);

  const write = it.ublk.submitIo(0, { op: UBLK_IO_OP_WRITE, sectors: 1 });
  it.receive();
  it.ublk.getDataFault = "requeue";
  it.getData(0);
  assertEquals(it.receive(), []);
  const read = it.ublk.submitIo(0, { op: UBLK_IO_OP_READ, sectors: 1 });
  assertEquals([it.receive(), read.tag], [[[0, 0]], 0]);
  it.ublk.kickRequeued();
  it.commit(0, 512);
  assertEquals([read.result, it.receive(), write.result], [512, [[0, 1]], undefined]);
  it.getData(0);
  it.receive();
  it.commit(0, 512);
  assertEquals(write.result, 512);
  it.ublk.assertAnsweredOnce();
});

Deno.test("FakeUblk refuses commands as the driver does, and records violations", () => {
  using it = setUp(2);
  const refused = (errno: number, why: string) => {
    const got = it.receive();
    assertEquals(got[got.length - 1]?.[1], -errno, why);
    assert(it.ublk.violations.pop()?.includes(why), `${why}: ${it.ublk.violations}`);
  };
  it.fetch(0, 0);
  refused(EINVAL, "no address");
  it.fetch(5, 4096);
  refused(EINVAL, "no such slot");
  it.commit(0, 0);
  refused(EINVAL, "the server holds no request");
  it.getData(0);
  refused(EINVAL, "in state new");
  it.fetch(0);
  it.fetch(0);
  refused(EBUSY, "already holds");
  it.fetch(1);
  it.ublk.submitIo(0, { op: UBLK_IO_OP_READ, sectors: 1 });
  it.receive();
  it.fetch(0);
  refused(EBUSY, "no tag is left to fetch");
  it.commit(0, -EIO, 0);
  refused(EINVAL, "no address");
  it.commit(0, 512);
  assertEquals(it.ublk.violations, []);
});

Deno.test("FakeUblk.assertAnsweredOnce finds a lost request, a short one, and a violation", () => {
  using it = setUp(1);
  it.fetch(0);
  const read = it.ublk.submitIo(0, { op: UBLK_IO_OP_READ, sectors: 2 });
  assertThrows(() => it.ublk.assertAnsweredOnce(), Error, "was answered 0 times");
  it.commit(0, 512);
  assertEquals(read.result, 512);
  assertThrows(() => it.ublk.assertAnsweredOnce(), Error, "512 of 1024 bytes reported as done");
});

Deno.test("FakeUblk.stop aborts commands that the driver holds, and the server's tags later", () => {
  using it = setUp(3);
  for (const tag of [0, 1, 2]) it.fetch(tag);
  const held = it.ublk.submitIo(0, { op: UBLK_IO_OP_FLUSH });
  it.receive();
  it.ublk.stop();
  assertEquals(it.receive(), [[1, -ENODEV], [2, -ENODEV]]);
  assertEquals(it.ublk.submitIo(0, { op: UBLK_IO_OP_FLUSH }).result, -EIO);
  it.commit(0, 0);
  assertEquals([held.result, it.receive()], [0, [[0, -ENODEV]]]);
  it.ublk.assertAnsweredOnce();
  it.fetch(0);
  assertEquals(it.receive(), [[0, -ENODEV]]);
  assertEquals(it.ublk.violations.length, 1);
  assertEquals(it.kernel.inFlight, 0);
});
