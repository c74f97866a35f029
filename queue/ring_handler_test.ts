import { assertEquals, assertMatch } from "@std/assert";
import type { Backend, RingMethods } from "../disk/backend.ts";
import { QueueRig } from "../tests/queue_rig.ts";
import { EAGAIN, ECANCELED, EIO, ENOSPC, ETIMEDOUT } from "../uapi/errno.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { FakeSqe } from "../uring/fake_sqe.ts";
import { KIND_BACKEND } from "./slots.ts";

const FILE = 7;
const READ = { op: UBLK_IO_OP_READ, sector: 8, sectors: 8 };
const FLUSH = { op: UBLK_IO_OP_FLUSH };

/** Makes a rig whose operations complete with `results`, in the order of submission. */
function rigOf(methods: Partial<RingMethods>, ...results: number[]) {
  return boundedRigOf(false, methods, ...results);
}

/** As {@linkcode rigOf}, with an optional deadline for operations. */
function boundedRigOf(bounded: boolean, methods: Partial<RingMethods>, ...results: number[]) {
  const unused = () => {
    throw new Error("the ring serves this backend");
  };
  const backend: Backend = {
    size: 1 << 20,
    synchronous: true,
    readAt: unused,
    writeAt: unused,
    flush: unused,
    ring: {
      prepare: ({ length, offset, op }, ring) => {
        if (op === UBLK_IO_OP_READ) ring.read(FILE, 0, length, offset);
        else if (op === UBLK_IO_OP_WRITE) ring.write(FILE, 0, length, offset);
        else ring.fsync(FILE, true);
      },
      complete: (_request, result) => result,
      ...methods,
    },
  };
  const rig = new QueueRig({ backend, path: "copy", bounded });
  const operations: FakeSqe[] = [];
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.kind !== KIND_BACKEND) return rig.ublk.handler(sqe, kernel);
    operations.push(sqe);
    kernel.complete(sqe.userData, sqe.kind, results.shift() ?? 0);
  };
  return Object.assign(rig.fetch(), { operations });
}

Deno.test("RingHandler answers a request with its operation's result", () => {
  using rig = rigOf({}, 4096, 0);
  assertEquals(rig.io(READ).result, 4096);
  assertEquals(rig.io(FLUSH).result, 0);
  assertEquals(rig.operations.map(({ fd }) => fd), [FILE, FILE]);
  rig.stop();
});

Deno.test("RingHandler takes a short count for an error", () => {
  using rig = rigOf({}, 512);
  assertEquals(rig.io(READ).result, -EIO);
  assertMatch(rig.log().join(), /returned 512 for 4096 bytes/);
  rig.stop();
});

Deno.test("RingHandler waits for the last operation, and the first error stays", () => {
  const half = 2048;
  using rig = rigOf(
    {
      prepare: ({ offset }, ring) => {
        ring.read(FILE, 0, half, offset);
        ring.read(FILE, half, half, offset + half);
      },
      complete: ({ length }, result) => (result < 0 ? result : length),
    },
    -ENOSPC,
    half,
  );
  assertEquals(rig.io(READ).result, -ENOSPC);
  assertEquals(rig.operations.length, 2);
  rig.stop();
});

Deno.test("RingHandler makes ETIMEDOUT of what was cancelled at its deadline, whatever the backend says", () => {
  for (const [bounded, expected] of [[true, -ETIMEDOUT], [false, -EIO]] as const) {
    const complete = ({ length }: { length: number }, result: number) => {
      return result < 0 ? -EIO : length;
    };
    using rig = boundedRigOf(bounded, { complete }, -ECANCELED);
    assertEquals(rig.io(FLUSH).result, expected);
    rig.stop();
  }
});

Deno.test("RingHandler lets complete() queue a further operation", () => {
  let done = 0;
  using rig = rigOf(
    {
      complete: ({ length, offset }, result, ring) => {
        done += result;
        if (done === length) return length;
        ring.read(FILE, done, length - done, offset + done);
      },
    },
    1024,
    3072,
  );
  assertEquals(rig.io(READ).result, 4096);
  rig.stop();
});

// Regression: answers went to the kernel unchecked. Clients do not expect EAGAIN, and an Int32Array
// turns NaN into 0, so that a failed FLUSH was reported as done.
for (const bad of [-EAGAIN, Number.NaN, -0.5, -99999]) {
  Deno.test(`RingHandler makes EIO of the answer ${bad}`, () => {
    using rig = rigOf({ complete: () => bad });
    assertEquals(rig.io(FLUSH).result, -EIO);
    rig.stop();
  });
}

Deno.test("RingHandler answers EIO to a backend that throws, queues nothing or too much", () => {
  const mistakes: RingMethods["prepare"][] = [
    () => {
      throw new Error("on purpose");
    },
    () => {},
    (_request, ring) => {
      for (let index = 0; index < 5; index++) ring.fsync(FILE, true);
    },
  ];
  for (const prepare of mistakes) {
    using rig = rigOf({ prepare });
    assertEquals(rig.io(FLUSH).result, -EIO);
    rig.stop();
  }
});
