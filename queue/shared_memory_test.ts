import { assert, assertEquals, assertMatch } from "@std/assert";
import { mockBackend } from "../testing.ts";
import { openLogged } from "../tests/backends/engine.ts";
import { FAKE_FILE_FD, FakeFile } from "../tests/fake_file.ts";
import { QueueRig } from "../tests/queue_rig.ts";
import type { DataPathName } from "../uapi/data_path.ts";
import { EIO, ENOSPC } from "../uapi/errno.ts";
import { IORING_OP_READ, IORING_OP_WRITE } from "../uapi/io_uring_sqe.ts";
import { UBLK_U_IO_REGISTER_IO_BUF } from "../uapi/ublk_buf.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { Mapping } from "../uring/mapping.ts";

const SHARED_BYTES = 64 << 10;
const BYTES = 4096;
const data = new Uint8Array(BYTES).map((_, index) => index * 7);

/** Makes a rig with two shared buffers, with indices 2 and 5. */
function setUp(path: DataPathName, kind: "bytes" | "ring" | "engine", batch = false) {
  const stack = new DisposableStack();
  const mappings = [2, 5].map(() => stack.use(Mapping.anonymous(SHARED_BYTES)));
  const sharedBuffers = mappings.map(({ address, bytes }, index) => {
    return { index: index === 0 ? 2 : 5, address, bytes };
  });
  const file = new FakeFile(1 << 20);
  const backend = kind === "ring"
    ? file.backend(2)
    : kind === "engine"
    ? stack.adopt(openLogged({ size: 1 << 20, logFd: FAKE_FILE_FD }), ({ end }) => end()).backend
    : mockBackend({ size: 1 << 20, synchronous: true });
  const rig = stack.use(new QueueRig({ backend, path, file, sharedBuffers, batch }).fetch());
  const [first, second] = mappings.map((mapping) => new Uint8Array(mapping.buffer()));
  return { rig, file, first, second, [Symbol.dispose]: () => stack.dispose() };
}

const CASES: [DataPathName, "bytes" | "ring" | "engine", boolean][] = [
  ["copy", "bytes", false],
  ["copy", "engine", false],
  ["get-data", "engine", false],
  ["user-copy", "engine", true],
  ["copy", "ring", true],
  ["get-data", "bytes", false],
  ["get-data", "ring", false],
  ["user-copy", "bytes", false],
  ["user-copy", "ring", true],
  ["zero-copy", "ring", false],
  ["auto-zero-copy", "ring", true],
  ["auto-zero-copy-fallback", "ring", false],
];
// Regression: with NEED_GET_DATA a WRITE was answered with EIO. The driver asks for its data
// anyway, and our GET_DATA overwrites the location of the shared data.
for (const [path, kind, batch] of CASES) {
  const name = `${path} and ${kind}${batch ? " in batches" : ""}`;
  Deno.test(`SharedMemoryPath before ${name} finds data where the client has it`, () => {
    using it = setUp(path, kind, batch);
    it.first.set(data, 512);
    const shared = { index: 2, offset: 512 };
    const io = { sector: 8, sectors: 8 };
    assertEquals(it.rig.io({ op: UBLK_IO_OP_WRITE, ...io, shared }).results, [BYTES]);
    const into = { index: 5, offset: SHARED_BYTES - BYTES };
    assertEquals(it.rig.io({ op: UBLK_IO_OP_READ, ...io, shared: into }).results, [BYTES]);
    assertEquals(it.second.subarray(into.offset), data);
    assert(it.second.subarray(0, into.offset).every((byte) => byte === 0));
    assertEquals(it.rig.ublk.commands.get(UBLK_U_IO_REGISTER_IO_BUF), undefined);
    it.rig.stop();
    assertEquals(it.rig.log(), []);
  });

  Deno.test(`SharedMemoryPath before ${name} leaves other requests alone, on the same tags`, () => {
    using it = setUp(path, kind, batch);
    const shared = { index: 2, offset: 0 };
    for (let round = 0; round < 10; round++) {
      it.first.fill(round + 1, 0, BYTES);
      const [near, far] = [{ sector: 8, sectors: 8 }, { sector: 128, sectors: 8 }];
      const ios = [
        { op: UBLK_IO_OP_WRITE, ...near, shared },
        { op: UBLK_IO_OP_WRITE, ...far, data: new Uint8Array(BYTES).fill(100 + round) },
      ];
      const requests = ios.map((io) => it.rig.ublk.submitIo(0, io));
      it.rig.run(() => requests.every(({ result }) => result === BYTES));
      const read = [near, far].map((io) => it.rig.io({ op: UBLK_IO_OP_READ, ...io }).data[0]);
      assertEquals(read, [round + 1, 100 + round]);
    }
    it.rig.stop();
  });
}

Deno.test("SharedMemoryPath answers EIO for data in no buffer of ours, or beyond one's end", () => {
  for (const path of ["copy", "get-data"] as const) {
    using it = setUp(path, "bytes");
    const places = [{ index: 3, offset: 0 }, { index: 2, offset: SHARED_BYTES - 512 }];
    for (const shared of places) {
      for (const op of [UBLK_IO_OP_WRITE, UBLK_IO_OP_READ]) {
        assertEquals(it.rig.io({ op, sectors: 8, shared }).results, [-EIO]);
        assertMatch(it.rig.log().join(), /in no shared buffer of ours/);
      }
    }
    assertEquals(it.rig.io({ op: UBLK_IO_OP_READ, sectors: 8 }).results, [BYTES]);
    it.rig.stop();
  }
});

Deno.test("SharedMemoryPath has operations on the memory itself, also where others are fixed", () => {
  using it = setUp("auto-zero-copy", "ring");
  const shared = { index: 2, offset: 0 };
  it.rig.io({ op: UBLK_IO_OP_READ, sectors: 8, shared });
  it.rig.io({ op: UBLK_IO_OP_WRITE, sectors: 8, shared });
  assertEquals(it.file.operations.map(({ opcode }) => opcode), [
    ...[IORING_OP_READ, IORING_OP_READ],
    ...[IORING_OP_WRITE, IORING_OP_WRITE],
  ]);
  it.file.results.push(-ENOSPC);
  assertEquals(it.rig.io({ op: UBLK_IO_OP_WRITE, sectors: 8, shared }).results, [-ENOSPC]);
  it.rig.stop();
});
