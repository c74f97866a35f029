import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Backend } from "../disk/backend.ts";
import { mockBackend } from "../testing.ts";
import { FAKE_FILE_FD, FakeFile } from "../tests/fake_file.ts";
import { copyPlace } from "../tests/fake_user_copy.ts";
import { withoutMemory } from "../tests/no_memory.ts";
import { nextTurn, QueueRig } from "../tests/queue_rig.ts";
import { EIO, ENOSPC, ETIMEDOUT } from "../uapi/errno.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { FakeSqe } from "../uring/fake_ring.ts";
import { KIND_PATH } from "./slots.ts";

const BLOCK = 4096;
const SIZE = 1 << 20;
const METADATA = 8;
const data = new Uint8Array(2 * BLOCK).map((_, index) => index * 7);
const metadata = Uint8Array.from({ length: 2 * METADATA }, (_, index) => 200 + index);
const IO = { sector: 64, sectors: 16 };
const WRITE = { op: UBLK_IO_OP_WRITE, ...IO, data, metadata };
const READ = { op: UBLK_IO_OP_READ, ...IO, metadata: new Uint8Array(2 * METADATA) };

/** Makes a disk that stores metadata. */
function disk(methods: Partial<Backend> = {}): Backend {
  const kept = new Uint8Array(SIZE / BLOCK * METADATA);
  const at = (offset: number) => offset / BLOCK * METADATA;
  return {
    ...mockBackend({ size: SIZE, blockSize: BLOCK, synchronous: true }),
    readMetadata: (buffer, offset) =>
      buffer.set(kept.subarray(at(offset), at(offset) + buffer.length)),
    writeMetadata: (buffer, offset) => kept.set(buffer, at(offset)),
    ...methods,
  };
}

function rigOf(backend: Backend, options = {}) {
  const sized = { path: "user-copy", metadataSize: METADATA, depth: 2 } as const;
  return new QueueRig({ ...sized, backend, ...options }).fetch();
}

for (const options of [{}, { batch: true }, { paranoid: true }]) {
  // Regression: the paranoid wrapper lacked these methods, so metadata was dropped.
  Deno.test(`Metadata travels beside data, with ${JSON.stringify(options)}`, () => {
    using rig = rigOf(disk(), options);
    assertEquals(rig.io(WRITE).results, [2 * BLOCK]);
    const read = rig.io(READ);
    assertEquals([read.data, read.metadata], [data, metadata]);
    // The second block alone.
    const one = rig.io({ ...READ, sector: 72, sectors: 8, metadata: new Uint8Array(METADATA) });
    assertEquals(one.metadata, metadata.subarray(METADATA));
    rig.stop();
    assertEquals(rig.log(), []);
  });
}

Deno.test("Metadata is left alone where the block layer has not marked a request", () => {
  const never = () => {
    throw new Error("called");
  };
  using rig = rigOf(disk({ readMetadata: never, writeMetadata: never }));
  const copies: FakeSqe[] = [];
  const { handler } = rig.kernel;
  rig.kernel.handler = (sqe, kernel) => {
    if ((sqe.kind & 0xff) === KIND_PATH) copies.push(sqe);
    handler(sqe, kernel);
  };
  assertEquals(rig.io({ ...WRITE, metadata: undefined }).results, [2 * BLOCK]);
  assertEquals(rig.io({ ...READ, metadata: undefined }).data, data);
  assertEquals(copies.map((sqe) => copyPlace(sqe).isMetadata), [false, false]);
  rig.stop();
});

Deno.test("Metadata is an operation of its own for a backend that works through the ring", () => {
  const file = new FakeFile(2 * SIZE);
  const backend = file.backend(2, {
    prepare: ({ op, length, offset, metadataLength }, ring) => {
      assertEquals(metadataLength, 2 * METADATA);
      const at = SIZE + offset / BLOCK * METADATA;
      if (op === UBLK_IO_OP_READ) {
        ring.read(FAKE_FILE_FD, 0, length, offset);
        ring.readMetadata(FAKE_FILE_FD, at);
      } else {
        ring.write(FAKE_FILE_FD, 0, length, offset);
        ring.writeMetadata(FAKE_FILE_FD, at);
      }
    },
    complete: (request, result) => result < 0 ? result : request.length,
  });
  using rig = rigOf({ ...backend, blockSize: BLOCK }, { file });
  assertEquals(rig.io(WRITE).results, [2 * BLOCK]);
  const read = rig.io(READ);
  assertEquals([read.data, read.metadata], [data, metadata]);
  rig.stop();
});

for (const which of [0, 1]) {
  Deno.test(`Metadata's request is answered EIO where copy ${which} of the two fails`, () => {
    using rig = rigOf(disk());
    for (const io of [WRITE, READ]) {
      let copy = 0;
      const { handler } = rig.kernel;
      rig.kernel.handler = (sqe, kernel) => {
        const isCopy = (sqe.kind & 0xff) === KIND_PATH;
        if (isCopy && copy++ === which) kernel.complete(sqe.userData, sqe.kind, 3);
        else handler(sqe, kernel);
      };
      assertEquals(rig.io(io).results, [-EIO]);
      rig.kernel.handler = handler;
      const what = which === 0 ? /copied 3 of 8192 bytes of data/ : /3 of 16 bytes of metadata/;
      assertMatch(rig.log().join(), what);
    }
    assertEquals(rig.io(WRITE).results, [2 * BLOCK]);
    rig.stop();
  });
}

Deno.test("Metadata.transfer answers the errno of what its method throws, now or later", async () => {
  const full = Object.assign(new Error("full"), { code: "ENOSPC" });
  const fails: (() => never | Promise<void>)[] = [
    () => {
      throw full;
    },
    () => Promise.reject(full),
  ];
  for (const writeMetadata of fails) {
    using rig = rigOf(disk({ synchronous: false, writeMetadata }));
    assertEquals((await rig.ioAsync(WRITE)).results, [-ENOSPC]);
    rig.stop();
  }
});

// Regression: the first failure answered the request, and later work of the other method affected
// the tag's next request. A method that threw at once also left the other's rejection uncaught.
for (const how of ["throws", "rejects"]) {
  Deno.test(`Metadata.transfer waits for the data's Promise where metadata ${how}`, async () => {
    let finish = () => {};
    const backend = disk({
      synchronous: false,
      readAt: () => new Promise<void>((_, reject) => finish = () => reject(new Error("late"))),
      readMetadata: () => {
        if (how === "rejects") return Promise.reject(new Error("at once"));
        throw new Error("at once");
      },
    });
    using rig = rigOf(backend);
    const request = rig.start(READ);
    for (let turn = 0; turn < 3; turn++) {
      await nextTurn();
      rig.turn();
    }
    assertEquals(request.results, []);
    finish();
    await rig.runAsync(() => request.result !== undefined);
    assertEquals(request.results, [-EIO]);
    rig.stop();
  });
}

// Regression: the buffer was reused for the tag's next request, and unmapped while in use.
Deno.test("Metadata's place stays with a Promise that has missed its deadline", async () => {
  const places: Uint8Array[] = [];
  const settle: (() => void)[] = [];
  const backend = disk({
    synchronous: false,
    readMetadata: (buffer) => {
      places.push(buffer);
      return new Promise<void>((done) => settle.push(done));
    },
  });
  const rig = rigOf(backend);
  const late = rig.start(READ);
  rig.expire();
  rig.turn();
  assertEquals(late.results, [-ETIMEDOUT]);
  const next = rig.start(READ);
  places[0].fill(1);
  places[1].fill(2);
  settle[1]();
  await rig.runAsync(() => next.result !== undefined);
  assertEquals(next.metadata, new Uint8Array(2 * METADATA).fill(2));
  rig.stop();
  rig[Symbol.dispose]();
  places[0].fill(3);
  settle[0]();
  await nextTurn();
  assert(places[0][0] === 3);
});

// Regression: with memory for only one buffer, data got a new one but metadata did not.
for (const spared of [0, 1]) {
  Deno.test(`Metadata's place and the data's stay where there is memory for ${spared} others`, async () => {
    const settle: (() => void)[] = [];
    const plain = disk();
    const backend = disk({
      synchronous: false,
      readAt: (buffer) => {
        buffer.fill(5);
        return new Promise<void>((done) => settle.push(done));
      },
      readMetadata: plain.readMetadata,
    });
    using rig = rigOf(backend);
    const read = rig.start(READ);
    withoutMemory(() => rig.expire(), spared);
    assertEquals(read.results, []);
    settle[0]();
    await rig.runAsync(() => read.result !== undefined);
    assertEquals([read.results, read.data], [[2 * BLOCK], new Uint8Array(2 * BLOCK).fill(5)]);
    // The reserved buffer goes to the next request.
    const late = rig.start(READ);
    withoutMemory(() => rig.expire(), 2 - spared);
    assertEquals(late.results, [-ETIMEDOUT]);
    settle[1]();
    await nextTurn();
    rig.stop();
  });
}
