import { assert, assertEquals, assertMatch } from "@std/assert";
import { plainFileRig } from "../tests/plain_file_rig.ts";
import { ECANCELED, EIO, ENOSPC, ETIME, ETIMEDOUT } from "../uapi/errno.ts";
import {
  IORING_OP_ASYNC_CANCEL,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_IO_LINK,
} from "../uapi/io_uring_sqe.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_RES_ABORT,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import { monotonicUs } from "../uring/libc.ts";
import { KIND_IO, KIND_LEAVE } from "./slots.ts";

const BYTES = 4096;
const READ = { op: UBLK_IO_OP_READ, sector: 64, sectors: 8 };
const data = new Uint8Array(BYTES).map((_, index) => index * 7);
const WRITE = { op: UBLK_IO_OP_WRITE, sector: 64, sectors: 8, data };
const CHAINED = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;

for (const path of ["copy", "auto-zero-copy"] as const) {
  Deno.test(`PlainTransfers on ${path} leave the answer to the kernel, which gives it by itself`, () => {
    using it = plainFileRig({ path });
    assertEquals(it.rig.io(WRITE).results, [BYTES]);
    assertEquals(it.file.bytes.subarray(64 * 512, 64 * 512 + BYTES), data);
    // One turn per request, and none for the completion of its operation.
    const enters = it.rig.kernel.enters;
    const read = it.rig.ublk.submitIo(0, READ);
    it.rig.turn();
    it.rig.turn();
    assertEquals([read.results, read.data, it.rig.kernel.enters - enters], [[BYTES], data, 2]);
    assertEquals(it.prepared, []);
    assertEquals(it.file.operations.map(({ flags }) => flags & CHAINED), [CHAINED, CHAINED]);
    const { reads, writes, bytesRead, bytesWritten } = it.rig.stats();
    assertEquals([reads, writes, bytesRead, bytesWritten], [1, 1, BYTES, BYTES]);
    it.rig.stop();
  });
}

Deno.test("PlainTransfers with no SQEs to spare do the same", () => {
  using it = plainFileRig({ entries: 16 });
  for (let count = 0; count < 50; count++) assertEquals(it.rig.io(WRITE).results, [BYTES]);
  assertEquals(it.rig.io(READ).data, data);
  const chained = it.file.operations.filter(({ flags }) => (flags & CHAINED) === CHAINED);
  // All except timed requests.
  assert(chained.length >= 45, `${chained.length} of 51 are chained`);
  it.rig.stop();
});

Deno.test("PlainTransfers carry offsets beyond 32 bits, and sectors beyond", () => {
  for (const sector of [2 ** 23 - 1, 2 ** 23, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5]) {
    using it = plainFileRig();
    it.file.results.push(BYTES);
    assertEquals(it.rig.io({ ...READ, sector }).result, BYTES);
    const { words } = it.file.operations[0];
    assertEquals(words[2] + words[3] * 2 ** 32, sector * 512);
    it.rig.stop();
  }
});

Deno.test("PlainTransfers ask the backend about what is not plain", () => {
  using it = plainFileRig();
  it.rig.io({ op: UBLK_IO_OP_FLUSH });
  it.rig.io({ ...WRITE, flags: UBLK_IO_F_FUA });
  it.rig.io(READ);
  assertEquals(it.prepared, [UBLK_IO_OP_FLUSH, UBLK_IO_OP_WRITE]);
  it.rig.stop();
});

for (const path of ["copy", "zero-copy", "auto-zero-copy", "user-copy"] as const) {
  Deno.test(`PlainTransfers on ${path} have the backend do again what was short, or failed`, () => {
    using it = plainFileRig({ path });
    for (const result of [512, 0, -EIO]) {
      it.file.results.push(result);
      assertEquals(it.rig.io(WRITE).results, [BYTES]);
    }
    assertEquals(it.prepared, [UBLK_IO_OP_WRITE, UBLK_IO_OP_WRITE, UBLK_IO_OP_WRITE]);
    const { writes, bytesWritten, errors } = it.rig.stats();
    assertEquals([writes, bytesWritten, errors], [3, 3 * BYTES, 0]);
    it.rig.stop();
  });

  Deno.test(`PlainTransfers on ${path} answer the error that stays, and count no success`, () => {
    using it = plainFileRig({ path });
    it.file.results.push(-ENOSPC, -ENOSPC);
    assertEquals(it.rig.io(WRITE).results, [-ENOSPC]);
    const { writes, bytesWritten, errors } = it.rig.stats();
    assertEquals([writes, bytesWritten, errors], [0, 0, 1]);
    it.rig.stop();
  });
}

Deno.test("PlainTransfers are cancelled when the patience with a stopping device ends, and not done again", () => {
  using it = plainFileRig();
  it.file.held = true;
  const request = it.rig.start(READ);
  it.rig.handler.expire(monotonicUs(), 0, monotonicUs());
  it.rig.turn();
  const cancel = it.rig.ublk.foreign.find(({ opcode }) => opcode === IORING_OP_ASYNC_CANCEL);
  assert(cancel !== undefined);
  it.file.results.push(-ECANCELED);
  it.file.release();
  it.rig.run(() => request.result !== undefined);
  assertEquals([request.results, it.prepared], [[-EIO], []]);
});

Deno.test("PlainTransfers that are bounded are cancelled at their deadline, and answered with ETIMEDOUT", () => {
  using it = plainFileRig({ bounded: true });
  it.file.held = true;
  const cancels = () =>
    it.rig.ublk.foreign.filter(({ opcode }) => opcode === IORING_OP_ASYNC_CANCEL).length;
  const request = it.rig.start(READ);
  assertEquals(it.rig.handler.expire(monotonicUs(), 1e6), 0);
  assertEquals(it.rig.handler.expire(monotonicUs() + 2e6, 1e6), 1);
  it.rig.turn();
  assertEquals(cancels(), 1);
  assertMatch(it.rig.log().join(), /queue 0 tag \d: not done in 2\d\d\d ms; cancelling$/);
  it.file.results.push(-ECANCELED);
  it.file.release();
  it.rig.run(() => request.result !== undefined);
  assertEquals([request.results, it.prepared], [[-ETIMEDOUT], []]);
});

Deno.test("PlainTransfers that are not bounded take what they take", () => {
  using it = plainFileRig();
  it.file.held = true;
  const request = it.rig.start(READ);
  assertEquals(it.rig.handler.expire(monotonicUs() + 2e6, 1e6), 0);
  it.rig.turn();
  assertEquals([request.results, it.rig.handler.outstanding], [[], 1]);
});

Deno.test("PlainTransfers are seen completing now and then, so that latencies are known", () => {
  using it = plainFileRig();
  for (let count = 0; count < 200; count++) it.rig.io(READ);
  const { latency, reads } = it.rig.stats();
  assertEquals(reads, 200);
  assert(latency.read.count > 0 && latency.read.count < 20, `${latency.read.count} are timed`);
  it.rig.stop();
});

// To the server, a request that the kernel has answered looks like one that is under way.
Deno.test("PlainTransfers under way are answered before the server leaves a quiesced device", () => {
  using it = plainFileRig({ depth: 3 });
  const { rig, file } = it;
  const { slots, kernel, ublk } = rig;
  const turns = () => {
    for (let turn = 0; turn < 3; turn++) rig.turn();
  };
  // Tags 0 and 1 have each had a request, and tag 0 has another one.
  file.held = true;
  const reads = [READ, READ].map((read) => rig.start(read));
  turns();
  file.release();
  rig.run(() => reads.every(({ result }) => result === BYTES));
  const request = ublk.submitIo(0, WRITE);
  turns();
  assertEquals([request.tag, slots.held], [0, 2]);
  kernel.complete(2, KIND_IO, UBLK_IO_RES_ABORT);
  turns();
  for (const asked of [2, 3]) {
    assertEquals(ublk.foreign.splice(-1).map(({ kind }) => kind), [KIND_LEAVE]);
    kernel.complete(0, KIND_LEAVE, -ETIME);
    turns();
    assertEquals(ublk.commands.get(UBLK_U_IO_NEED_GET_DATA), asked);
    assertEquals([slots.held, rig.server.running, request.result], [1, true, undefined]);
  }
  file.release();
  kernel.complete(0, KIND_LEAVE, -ETIME);
  turns();
  assertEquals([slots.held, rig.server.running, request.results], [0, false, [BYTES]]);
});

Deno.test("PlainTransfers are not chained while the device is being left", () => {
  using it = plainFileRig({ depth: 3 });
  it.rig.io(READ);
  it.rig.kernel.complete(2, KIND_IO, UBLK_IO_RES_ABORT);
  it.rig.turn();
  it.rig.io(READ);
  assertEquals(it.file.operations.map(({ flags }) => flags & CHAINED), [CHAINED, 0]);
});
