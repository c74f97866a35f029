import { assert, assertEquals, assertMatch } from "@std/assert";
import type { RingMethods } from "../disk/backend.ts";
import { FakeFile } from "../tests/fake_file.ts";
import { QueueRig, type RigOptions } from "../tests/queue_rig.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import { EBUSY, EINVAL, EIO, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import {
  IORING_OP_READ_FIXED,
  IORING_OP_URING_CMD,
  IORING_OP_WRITE_FIXED,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
} from "../uapi/io_uring_sqe.ts";
import { UBLK_U_IO_REGISTER_IO_BUF, UBLK_U_IO_UNREGISTER_IO_BUF } from "../uapi/ublk_buf.ts";
import {
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import type { FakeSqe } from "../uring/fake_ring.ts";

const BYTES = 4096;
const data = new Uint8Array(BYTES).map((_, index) => index * 7);
const WRITE = { op: UBLK_IO_OP_WRITE, sector: 64, sectors: 8, data };
const READ = { op: UBLK_IO_OP_READ, sector: 64, sectors: 8 };
const PATHS: DataPathName[] = ["zero-copy", "auto-zero-copy", "auto-zero-copy-fallback"];

interface Options extends Partial<RigOptions> {
  parts?: number;
  methods?: Partial<RingMethods>;
}

/** Makes a rig over a file, and records its SQEs per call of `enter`. */
function setUp(path: DataPathName, { parts, methods, ...options }: Options = {}) {
  const file = new FakeFile(1 << 20);
  const backend = file.backend(parts, methods);
  const rig = new QueueRig({ backend, path, file, depth: 2, ...options }).fetch();
  const submitted: FakeSqe[][] = [];
  const { enter } = rig.kernel;
  rig.kernel.enter = (...parts) => {
    submitted.push([]);
    return enter.apply(rig.kernel, parts);
  };
  const { handler } = rig.kernel;
  rig.kernel.handler = (sqe, kernel) => {
    submitted.at(-1)!.push(sqe);
    handler(sqe, kernel);
  };
  return { rig, file, submitted, [Symbol.dispose]: () => rig[Symbol.dispose]() };
}

for (const path of PATHS) {
  Deno.test(`ZeroCopyPath on ${path} lets a file read and write a request's own pages`, () => {
    using it = setUp(path);
    assertEquals(it.rig.io(WRITE).results, [BYTES]);
    assertEquals(it.file.bytes.subarray(64 * 512, 64 * 512 + BYTES), data);
    const read = it.rig.io(READ);
    assertEquals([read.results, read.data], [[BYTES], data]);
    assertEquals(it.file.operations.map(({ opcode }) => opcode), [
      IORING_OP_WRITE_FIXED,
      IORING_OP_READ_FIXED,
    ]);
    it.rig.stop();
    assertEquals(it.rig.log(), []);
  });

  Deno.test(`ZeroCopyPath on ${path} registers nothing for what carries no data`, () => {
    using it = setUp(path);
    for (const op of [UBLK_IO_OP_FLUSH, UBLK_IO_OP_WRITE_ZEROES]) {
      assertEquals(it.rig.io({ op, sectors: op === UBLK_IO_OP_FLUSH ? 0 : 8 }).result, 0);
    }
    assertEquals(it.rig.ublk.commands.get(UBLK_U_IO_REGISTER_IO_BUF), undefined);
    it.rig.stop();
  });

  Deno.test(`ZeroCopyPath on ${path} gives each operation of a request its part of the pages`, () => {
    using it = setUp(path, { parts: 4 });
    assertEquals(it.rig.io(WRITE).results, [BYTES]);
    assertEquals(it.rig.io(READ).data, data);
    assertEquals(
      it.file.operations.map(({ words }) => words[4]),
      [0, 1, 2, 3, 0, 1, 2, 3]
        .map((part) => part * 1024),
    );
    it.rig.stop();
  });

  Deno.test(`ZeroCopyPath on ${path} takes the buffer back from an operation that failed`, () => {
    using it = setUp(path, { parts: 2 });
    it.file.results.push(-ENOSPC);
    assertEquals(it.rig.io(WRITE).results, [-ENOSPC]);
    assertEquals(it.rig.ublk.buffers.count, 0);
    assertEquals(it.rig.io(WRITE).results, [BYTES]);
    it.rig.stop();
  });

  Deno.test(`ZeroCopyPath on ${path} serves a backend that answers at once, or throws`, () => {
    const answers = [BYTES, -ENOSPC, new Error("on purpose")];
    const prepare = () => {
      const answer = answers.shift()!;
      if (typeof answer === "number") return answer;
      throw answer;
    };
    using it = setUp(path, { methods: { prepare } });
    assertEquals([READ, READ, READ].map((io) => it.rig.io(io).result), [BYTES, -ENOSPC, -EIO]);
    it.rig.stop();
  });

  Deno.test(`ZeroCopyPath on ${path} has a linked chain's operations in one submission`, () => {
    // The smallest possible ring: a chain of five often finds it nearly full.
    using it = setUp(path, { parts: 4, depth: 8, entries: 8, cqEntries: 128 });
    const requests = Array.from(
      { length: 40 },
      (_, index) => it.rig.ublk.submitIo(0, { ...WRITE, sector: index * 8 }),
    );
    it.rig.run(() => requests.every(({ result }) => result !== undefined));
    assertEquals(new Set(requests.map(({ result }) => result)), new Set([BYTES]));
    const links = IOSQE_IO_LINK | IOSQE_IO_HARDLINK;
    for (const sqes of it.submitted) {
      const last = sqes.at(-1);
      assert(last === undefined || (last.flags & links) === 0, "a chain ends in its submission");
    }
    it.rig.stop();
  });
}

Deno.test("ZeroCopyPath's commands name tag and buffer, and are silent unless they fail", () => {
  using it = setUp("zero-copy", { queues: 2, parts: 2 });
  it.submitted.length = 0;
  it.rig.io(READ, 1);
  const commands = it.submitted.flat();
  const [register, first, second, unregister, commit] = commands;
  assertEquals(commands.map(({ opcode, flags }) => [opcode, flags]), [
    [IORING_OP_URING_CMD, IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK],
    [IORING_OP_READ_FIXED, IOSQE_IO_HARDLINK],
    [IORING_OP_READ_FIXED, 0],
    [IORING_OP_URING_CMD, IOSQE_CQE_SKIP_SUCCESS],
    [IORING_OP_URING_CMD, 0],
  ]);
  assertEquals([register.cmdOp, unregister.cmdOp], [
    UBLK_U_IO_REGISTER_IO_BUF,
    UBLK_U_IO_UNREGISTER_IO_BUF,
  ]);
  assertEquals([...register.words.subarray(12)], [1, 0, 2, 0]);
  assertEquals([first, second].map(({ words }) => words[10]), [2, 2]);
  assertEquals([commit.words[4], commit.words[14], commit.words[15]], [0, 0, 0]);
  it.rig.stop();
});

// Operations linked behind a failed REGISTER are cancelled. Because the REGISTER was to be silent,
// the kernel posts no completion for any of them. Regression: the request was never answered.
for (const parts of [1, 3]) {
  for (const path of ["zero-copy", "auto-zero-copy-fallback"] as const) {
    Deno.test(`ZeroCopyPath on ${path} answers EIO where a REGISTER before ${parts} operations fails`, () => {
      using it = setUp(path, { parts });
      // In this mode the driver's own registration fails anyway, without this fault.
      const request = it.rig.ublk.submitIo(0, WRITE);
      it.rig.ublk.faults = { register: ENOMEM };
      it.rig.run(() => request.result !== undefined);
      assertEquals([request.results, it.file.operations.length], [[-EIO], 0]);
      assertMatch(it.rig.log().join(), /queue 0 tag 0: registering its pages failed .* errno 12/);
      assertEquals(it.rig.ublk.commands.get(UBLK_U_IO_UNREGISTER_IO_BUF), undefined);
      assertEquals(it.rig.handler.outstanding, 0);
      // The tag and its buffer still work.
      for (let io = 0; io < 3; io++) assertEquals(it.rig.io(WRITE).results, [BYTES]);
      it.rig.stop();
    });
  }
}

Deno.test("ZeroCopyPath only logs that a REGISTER failed whose request was answered at once", () => {
  using it = setUp("zero-copy", { methods: { prepare: () => BYTES }, depth: 1 });
  for (let io = 0; io < 2; io++) {
    it.rig.ublk.faults = { register: EBUSY };
    assertEquals(it.rig.io(READ).results, [BYTES]);
  }
  it.rig.turn();
  assertEquals(it.rig.log().length, 2);
  it.rig.stop();
});

Deno.test("ZeroCopyPath logs an UNREGISTER that fails, and answers all the same", () => {
  using it = setUp("zero-copy");
  it.rig.ublk.faults = { unregister: EINVAL };
  assertEquals(it.rig.io(READ).results, [BYTES]);
  it.rig.turn();
  assertMatch(it.rig.log().join(), /tag 0: unregistering its pages failed with errno 22/);
  it.rig.stop();
});

Deno.test("ZeroCopyPath never sees a request whose automatic registration failed", () => {
  using it = setUp("auto-zero-copy");
  it.rig.ublk.faults = { register: ENOMEM };
  assertEquals(it.rig.io(READ).results, [-EIO]);
  assertEquals(it.file.operations.length, 0);
  assertEquals(it.rig.io(READ).results, [BYTES]);
  it.rig.stop();
});

for (const path of PATHS) {
  Deno.test(`ZeroCopyPath on ${path} lets a device go that is stopped under its operations`, () => {
    using it = setUp(path, { parts: 2 });
    it.file.held = true;
    const requests = [it.rig.start(WRITE), it.rig.start({ ...READ, sector: 0 })];
    it.rig.ublk.stop();
    for (let turn = 0; turn < 5; turn++) it.rig.turn();
    assertEquals([it.rig.server.running, requests[0].result], [true, undefined]);
    it.file.held = false;
    it.file.release();
    it.rig.stop();
    assertEquals(requests.map(({ results }) => results), [[BYTES], [BYTES]]);
  });
}
