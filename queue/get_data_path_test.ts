import { assertEquals, assertMatch } from "@std/assert";
import { openMemory } from "../tests/memory_disk.ts";
import { nextTurn, QueueRig } from "../tests/queue_rig.ts";
import { EINVAL, EIO, ENODEV, ENOSPC } from "../uapi/errno.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";

const DISK_BYTES = 1 << 20;
const BYTES = 4096;
const data = new Uint8Array(BYTES).map((_, index) => index * 7);
const WRITE = { op: UBLK_IO_OP_WRITE, sector: 64, sectors: 8, data };
const READ = { op: UBLK_IO_OP_READ, sector: 64, sectors: 8 };

/** Makes a rig over a RAM disk. Methods may be replaced. */
function setUp(methods = {}) {
  const stack = new DisposableStack();
  const disk = stack.use(openMemory(DISK_BYTES));
  const backend = { ...disk, ...methods };
  const rig = stack.use(new QueueRig({ backend, path: "get-data", depth: 2 }).fetch());
  return { disk, rig, [Symbol.dispose]: () => stack.dispose() };
}

Deno.test("GetDataPath calls neither readAt nor writeAt", () => {
  const never = () => {
    throw new Error("called");
  };
  using it = setUp({ readAt: never, writeAt: never });
  assertEquals(it.rig.io(WRITE).result, BYTES);
  assertEquals(it.rig.io(READ).data, data);
  const own = new Uint8Array(BYTES);
  it.disk.readAt(own, 64 * 512);
  assertEquals(own, data);
  it.rig.stop();
});

Deno.test("GetDataPath answers EIO where only a part of a WRITE's data was copied", () => {
  using it = setUp();
  for (const sectors of [1, 7]) {
    it.rig.ublk.getDataFault = { sectors };
    assertEquals(it.rig.io(WRITE).results, [-EIO]);
    const copied = `queue 0 tag 0: the kernel copied ${sectors * 512} of 4096 bytes`;
    assertMatch(it.rig.log().join(), new RegExp(copied));
  }
  // The tag still works.
  assertEquals(it.rig.io(WRITE).results, [BYTES]);
  it.rig.stop();
});

// If not even one page of a WRITE can be copied, the driver takes the WRITE off its tag but keeps
// the GET_DATA, and completes it with the tag's next request. Regression: every completion of a
// GET_DATA was taken to mean that data had arrived. A WRITE_ZEROES of the same length was answered
// as done without writing zeroes, one of another length got EIO, and when the WRITE itself came
// back, the commit was refused and the tag lost.
const NEXT: [string, { op: number; sector: number; sectors: number }, number][] = [
  ["WRITE_ZEROES of the same length", { ...READ, op: UBLK_IO_OP_WRITE_ZEROES }, 0],
  ["DISCARD of another length", { ...READ, op: UBLK_IO_OP_DISCARD, sectors: 16 }, 0],
  ["READ of another length", { ...READ, sectors: 1 }, 512],
  ["FLUSH", { op: UBLK_IO_OP_FLUSH, sector: 0, sectors: 0 }, 0],
  ["WRITE elsewhere", { op: UBLK_IO_OP_WRITE, sector: 0, sectors: 8 }, BYTES],
];
for (const [what, next, result] of NEXT) {
  Deno.test(`GetDataPath answers a ${what} that a failed GET_DATA brings, and the WRITE later`, () => {
    using disk = openMemory(DISK_BYTES);
    const backend = { ...disk, flush: () => {} };
    using rig = new QueueRig({ backend, path: "get-data", depth: 1 }).fetch();
    rig.io({ ...WRITE, data: new Uint8Array(BYTES).fill(1) });
    rig.ublk.getDataFault = "requeue";
    const write = rig.ublk.submitIo(0, WRITE);
    rig.run(() => rig.ublk.getDataFault === undefined);
    assertEquals(rig.io(next).results, [result]);
    const now = new Uint8Array(512);
    disk.readAt(now, 64 * 512);
    assertEquals(now[0], [UBLK_IO_OP_WRITE_ZEROES, UBLK_IO_OP_DISCARD].includes(next.op) ? 0 : 1);
    rig.ublk.kickRequeued();
    rig.run(() => write.result !== undefined);
    assertEquals([write.results, rig.io(READ).data], [[BYTES], data]);
    rig.stop();
  });
}

Deno.test("GetDataPath loses a tag whose GET_DATA is refused, and says with what", () => {
  using it = setUp();
  const { rig } = it;
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.cmdOp !== UBLK_U_IO_NEED_GET_DATA) rig.ublk.handler(sqe, kernel);
    else kernel.complete(sqe.userData, sqe.kind, -EINVAL);
  };
  rig.ublk.submitIo(0, WRITE);
  rig.run(() => rig.slots.live === 1);
  assertEquals([rig.server.lostErrno, rig.server.running], [EINVAL, true]);
});

Deno.test("GetDataPath lets a tag go that is aborted while its data is on the way", () => {
  using it = setUp();
  const { rig } = it;
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.cmdOp !== UBLK_U_IO_NEED_GET_DATA) rig.ublk.handler(sqe, kernel);
    else kernel.complete(sqe.userData, sqe.kind, -ENODEV);
  };
  rig.ublk.submitIo(0, WRITE);
  rig.run(() => rig.slots.live === 1);
  assertEquals(rig.server.lostErrno, 0);
});

Deno.test("GetDataPath answers EIO for a WRITE that was not announced", () => {
  using it = setUp();
  const { rig } = it;
  // An earlier announced WRITE of the same tag and length does not count.
  rig.io(WRITE);
  const request = rig.ublk.submitIo(0, { op: UBLK_IO_OP_DISCARD, sectors: 8 });
  rig.ring.enter(0);
  // The driver never does this. If it did, the WRITE would have no data.
  rig.ublk.descriptors[0][0] = UBLK_IO_OP_WRITE;
  rig.run(() => request.result !== undefined);
  assertEquals(request.results, [-EIO]);
});

Deno.test("GetDataPath answers the errno of a method that throws, and EIO for a Promise", async () => {
  using it = setUp({
    trim: () => {
      throw Object.assign(new Error("full"), { code: "ENOSPC" });
    },
    writeZeroes: () => Promise.reject(new Error("nobody handles this")),
  });
  assertEquals(it.rig.io({ op: UBLK_IO_OP_DISCARD, sectors: 8 }).result, -ENOSPC);
  assertEquals(it.rig.io({ op: UBLK_IO_OP_WRITE_ZEROES, sectors: 8 }).result, -EIO);
  assertMatch(it.rig.log().join(), /ENOSPC|errno 28.*returned a Promise/);
  await nextTurn();
  it.rig.stop();
});
