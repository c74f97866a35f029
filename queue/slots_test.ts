import { assert, assertEquals, assertThrows } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { openMemory } from "../tests/memory_disk.ts";
import { QueueRig } from "../tests/queue_rig.ts";
import { EIO } from "../uapi/errno.ts";
import { IORING_OP_URING_CMD } from "../uapi/io_uring_sqe.ts";
import {
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_U_IO_COMMIT_AND_FETCH_REQ,
  UBLK_U_IO_FETCH_REQ,
  UBLK_U_IO_NEED_GET_DATA,
} from "../uapi/ublk_io.ts";
import { KIND_IO } from "./slots.ts";
import { AssertionError } from "../uapi/error.ts";
import { monotonicUs } from "../uring/libc.ts";

const CHAR_FD = 3;
const BYTES = 4096;

/** Returns the expected words of an SQE. None may be left over from its previous use. */
function words(cmdOp: number, slot: number, identity: number, result: number, address: number) {
  return [
    ...[IORING_OP_URING_CMD, CHAR_FD, cmdOp, 0, 0, 0, 0, 0, slot, KIND_IO, 0, 0],
    ...[identity, result >>> 0, address % 2 ** 32, Math.floor(address / 2 ** 32)],
  ];
}

/** Records the words of every command that the driver receives. */
function record(rig: QueueRig): number[][] {
  const seen: number[][] = [];
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.opcode === IORING_OP_URING_CMD) seen.push([...sqe.words]);
    rig.ublk.handler(sqe, kernel);
  };
  return seen;
}

Deno.test("Slots fetches each tag of each queue with its buffer's address", () => {
  using rig = new QueueRig({ backend: mockBackend(), queues: 2, depth: 2 });
  const seen = record(rig);
  rig.fetch();
  const [a, b, c, d] = rig.path.commands.addresses;
  assertEquals(seen, [
    words(UBLK_U_IO_FETCH_REQ, 0, 0, 0, a),
    words(UBLK_U_IO_FETCH_REQ, 1, 1 << 16, 0, b),
    words(UBLK_U_IO_FETCH_REQ, 2, 1, 0, c),
    words(UBLK_U_IO_FETCH_REQ, 3, 1 | (1 << 16), 0, d),
  ]);
});

Deno.test("Slots.answer carries the result, an errno too, and the address that the slot has by then", () => {
  const backend = mockBackend({ faults: [{ effect: "throw", nth: 2 }] });
  using rig = new QueueRig({ backend, queues: 2, depth: 1 }).fetch();
  const seen = record(rig);
  rig.io({ op: UBLK_IO_OP_READ, sectors: 8 }, 1);
  rig.io({ op: UBLK_IO_OP_READ, sectors: 8 }, 1);
  const address = rig.path.commands.addresses[1];
  assertEquals(seen, [
    words(UBLK_U_IO_COMMIT_AND_FETCH_REQ, 1, 1, BYTES, address),
    words(UBLK_U_IO_COMMIT_AND_FETCH_REQ, 1, 1, -EIO, address),
  ]);
});

Deno.test("Slots.getData asks for a WRITE's data at its place on the disk", () => {
  using disk = openMemory("1MiB");
  using rig = new QueueRig({ backend: disk, path: "get-data", depth: 1 }).fetch();
  const seen = record(rig);
  rig.io({ op: UBLK_IO_OP_WRITE, sector: 16, sectors: 8 });
  assertEquals(seen, [
    words(UBLK_U_IO_NEED_GET_DATA, 0, 0, 0, disk.address! + 8192),
    words(UBLK_U_IO_COMMIT_AND_FETCH_REQ, 0, 0, BYTES, disk.address! + 8192),
  ]);
});

Deno.test("Slots + a request that is answered twice, or never came + an assertion fails", () => {
  using rig = new QueueRig({ backend: mockBackend() }).fetch();
  const { slots } = rig;
  assertThrows(() => slots.answer(0, BYTES), AssertionError, "a request is answered once");
  slots.requestArrived(0);
  assertThrows(() => slots.answer(0, -4096), AssertionError, "bytes or an errno");
  slots.answer(0, BYTES);
  assertEquals(slots.held, 0);
  assertThrows(() => slots.answer(0, BYTES), AssertionError, "a request is answered once");
});

Deno.test("Slots.follow + where no answer may be left to the kernel + an assertion fails", () => {
  using rig = new QueueRig({ backend: mockBackend() }).fetch();
  const { slots } = rig;
  slots.requestArrived(0);
  slots.mayFollow = false;
  assertThrows(
    () => slots.follow(0, UBLK_IO_OP_READ, BYTES),
    AssertionError,
    "only where that may",
  );
  slots.answer(0, BYTES);
  slots.mayFollow = true;
  assertThrows(() => slots.follow(0, UBLK_IO_OP_READ, BYTES), AssertionError, "to a request");
});

Deno.test("Slots.returned + more than the kernel was given + an assertion fails", () => {
  using rig = new QueueRig({ backend: mockBackend(), depth: 2 }).fetch();
  const { slots } = rig;
  slots.commandReturned();
  slots.commandReturned();
  assertEquals(slots.live, 0);
  assertThrows(() => slots.commandReturned(), AssertionError, "no more commands than it was given");
});

Deno.test("Slots.beginInBatch reads the clock once per batch", () => {
  using rig = new QueueRig({ backend: mockBackend() });
  const { slots } = rig;
  const untilLater = () => {
    const startUs = monotonicUs();
    while (monotonicUs() === startUs);
  };
  slots.beginInBatch(0);
  untilLater();
  slots.beginInBatch(1);
  assertEquals(slots.startedUs(1), slots.startedUs(0));
  slots.endBatch();
  untilLater();
  slots.beginInBatch(2);
  assert(slots.startedUs(2) > slots.startedUs(0));
});
