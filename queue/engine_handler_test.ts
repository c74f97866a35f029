import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Backend } from "../disk/backend.ts";
import type { Engine, EngineHost, EngineMemory } from "../disk/engine.ts";
import { FAKE_FILE_FD, FakeFile } from "../tests/fake_file.ts";
import { QueueRig, type RigOptions } from "../tests/queue_rig.ts";
import { AssertionError } from "../uapi/error.ts";
import { EAGAIN, ECANCELED, EIO, ENOSPC, ETIME, ETIMEDOUT } from "../uapi/errno.ts";
import {
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_FSYNC,
  IORING_OP_TIMEOUT,
  IORING_OP_WRITE,
  RWF_DSYNC,
} from "../uapi/io_uring_sqe.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_F_NOUNMAP,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
} from "../uapi/ublk_io.ts";
import type { FakeSqe } from "../uring/fake_sqe.ts";
import { monotonicUs, openAllOfLibc } from "../uring/libc.ts";
import { bufferAt, Mapping } from "../uring/mapping.ts";
import { KIND_BACKEND, KIND_WOKEN } from "./slots.ts";

openAllOfLibc();

const BYTES = 1 << 20;
const WAKE_FD = 11;
const READ = { op: UBLK_IO_OP_READ, sector: 8, sectors: 8 };
const WRITE = { op: UBLK_IO_OP_WRITE, sector: 8, sectors: 8 };
const FLUSH = { op: UBLK_IO_OP_FLUSH };

/** An engine that notes each call and holds each request, except for what a test overrides. */
class HoldingEngine implements Engine {
  readonly operations = 4;
  readonly wakeFd: number | undefined = undefined;
  host!: EngineHost;
  readonly held: number[] = [];
  readonly calls: string[] = [];

  start(host: EngineHost): void {
    this.host = host;
    this.calls.push("start");
  }

  request(request: number): void {
    this.held.push(request);
    this.calls.push(`request ${this.host.op(request)}`);
  }

  done(token: number, result: number): void {
    this.calls.push(`done ${token} ${result}`);
  }

  batchEnd(): void {}

  woken(): void {
    this.calls.push("woken");
  }

  giveUp(): void {
    this.calls.push("giveUp");
    for (const request of this.held.splice(0)) this.host.answer(request, -EIO);
  }

  /** The calls since the last time. */
  taken(): string[] {
    return this.calls.splice(0);
  }
}

function rigOf(overrides: Partial<Engine> = {}, options: Partial<RigOptions> = {}) {
  const engine = Object.assign(new HoldingEngine(), overrides);
  const unused = () => {
    throw new Error("the engine serves this backend");
  };
  const backend: Backend = {
    ...{ size: BYTES, engine },
    ...{ readAt: unused, writeAt: unused, flush: unused, trim: unused, writeZeroes: unused },
  };
  const file = new FakeFile(BYTES);
  const rig = new QueueRig({ backend, file, ...options }).fetch();
  return Object.assign(rig, { engine, file });
}

/** Runs turns in which nothing is expected to happen. */
function idle(rig: QueueRig): void {
  for (let turn = 0; turn < 5; turn++) rig.turn();
}

/** Memory for operations. */
function memoryOf(bytes: number): EngineMemory & Disposable {
  const mapping = Mapping.anonymous(bytes);
  return {
    bytes: new Uint8Array(mapping.buffer()),
    address: mapping.address,
    [Symbol.dispose]: () => mapping[Symbol.dispose](),
  };
}

Deno.test("EngineHandler answers the requests that an engine holds in any order", () => {
  using rig = rigOf();
  const { engine } = rig;
  assertEquals(engine.taken(), ["start"]);
  const read = rig.start(READ);
  const flush = rig.start(FLUSH);
  const write = rig.start(WRITE);
  assertEquals(rig.handler.outstanding, 3);
  idle(rig);
  const [first, second, third] = engine.held.splice(0);
  const results = () => [read.result, flush.result, write.result];
  engine.host.answer(third, -ENOSPC);
  idle(rig);
  assertEquals(results(), [undefined, undefined, -ENOSPC]);
  engine.host.answer(first, 0);
  idle(rig);
  assertEquals(results(), [4096, undefined, -ENOSPC]);
  engine.host.answer(second, 0);
  idle(rig);
  assertEquals(results(), [4096, 0, -ENOSPC]);
  assertEquals(rig.handler.outstanding, 0);
  assertEquals([rig.stats().reads, rig.stats().errors], [1, 1]);
  rig.stop();
});

Deno.test("EngineHandler calls batchEnd after all requests of a batch, and answers then", () => {
  const order: string[] = [];
  using rig = rigOf({
    request(this: HoldingEngine, request: number) {
      this.held.push(request);
      order.push("request");
    },
    batchEnd(this: HoldingEngine) {
      if (this.held.length === 0) return;
      order.push("end");
      for (const request of this.held.splice(0)) this.host.answer(request, 0);
    },
  });
  const requests = rig.ublk.plug(() => [READ, WRITE, FLUSH].map((io) => rig.ublk.submitIo(0, io)));
  rig.run(() => requests.every(({ result }) => result !== undefined));
  assertEquals(requests.map(({ result }) => result), [4096, 4096, 0]);
  assertEquals(order, ["request", "request", "request", "end"]);
  rig.stop();
});

Deno.test("EngineHandler tells an engine of each request as the kernel describes it", () => {
  const seen: unknown[] = [];
  using rig = rigOf({
    request(this: HoldingEngine, request: number) {
      const { host } = this;
      const [op, offset, length] = [host.op(request), host.offset(request), host.length(request)];
      const { length: bytes } = host.data(request);
      seen.push([op, op === UBLK_IO_OP_FLUSH ? 0 : offset, length, bytes]);
      seen.push([host.fua(request), host.mayUnmap(request)]);
      host.answer(request, 0);
    },
  });
  const range = { sector: 16, sectors: 64 };
  rig.io(READ);
  rig.io({ ...WRITE, flags: UBLK_IO_F_FUA });
  rig.io(FLUSH);
  rig.io({ op: UBLK_IO_OP_DISCARD, ...range });
  rig.io({ op: UBLK_IO_OP_WRITE_ZEROES, flags: UBLK_IO_F_NOUNMAP, ...range });
  const plain = [false, true];
  assertEquals(seen, [
    ...[[UBLK_IO_OP_READ, 4096, 4096, 4096], plain],
    ...[[UBLK_IO_OP_WRITE, 4096, 4096, 4096], [true, true]],
    ...[[UBLK_IO_OP_FLUSH, 0, 0, 0], plain],
    ...[[UBLK_IO_OP_DISCARD, 8192, 32768, 0], plain],
    ...[[UBLK_IO_OP_WRITE_ZEROES, 8192, 32768, 0], [false, false]],
  ]);
  rig.stop();
});

for (const path of ["copy", "get-data", "user-copy"] as const) {
  Deno.test(`EngineHandler with ${path} has the ring read into a request's data`, () => {
    const parts = 4;
    using rig = rigOf({
      operations: 2 * parts,
      request(this: HoldingEngine, request: number) {
        this.held.push(request);
        const step = this.host.length(request) / parts;
        const from = this.host.offset(request);
        for (let at = 0; at < parts; at++) {
          const offset = from + (parts - at) * step;
          this.host.readInto(request, at * step, step, FAKE_FILE_FD, offset, request * parts + at);
        }
      },
      done(this: HoldingEngine, token: number) {
        this.calls.push(`${Math.floor(token / parts)}`);
        const request = Math.floor(token / parts);
        if (this.calls.filter((call) => call === `${request}`).length < parts) return;
        this.host.answer(request, 0);
      },
    }, { path });
    for (let at = 0; at < 64 << 10; at++) rig.file.bytes[at] = at >> 10;
    const requests = [READ, { ...READ, sector: 32 }].map((io) => rig.ublk.submitIo(0, io));
    rig.run(() => requests.every(({ result }) => result !== undefined));
    const seen = requests.map(({ data }) => [0, 1024, 2048, 3072].map((at) => data[at]));
    assertEquals(requests.map(({ result }) => result), [4096, 4096]);
    assertEquals(seen, [[8, 7, 6, 5], [20, 19, 18, 17]]);
    rig.stop();
  });
}

Deno.test("EngineHandler has the ring read into memory that a client shares", () => {
  using mapping = Mapping.anonymous(64 << 10);
  using rig = rigOf({
    request(this: HoldingEngine, request: number) {
      const { host } = this;
      host.readInto(request, 512, 512, FAKE_FILE_FD, host.offset(request), request);
    },
    done(this: HoldingEngine, token: number) {
      this.host.answer(token, 0);
    },
  }, { sharedBuffers: [{ index: 0, address: mapping.address, bytes: mapping.bytes }] });
  rig.file.bytes.fill(9);
  assertEquals(rig.io({ ...READ, shared: { index: 0, offset: 4096 } }).result, 4096);
  const shared = new Uint8Array(mapping.buffer());
  assertEquals([4096, 4608, 5119, 5120].map((at) => shared[at]), [0, 9, 9, 0]);
  rig.stop();
});

Deno.test("EngineHandler gives each completion the token of its operation, in whatever order", () => {
  using memory = memoryOf(8192);
  using rig = rigOf();
  const { engine, file } = rig;
  file.held = true;
  const operations: FakeSqe[] = [];
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.kind !== KIND_BACKEND) return rig.ublk.handler(sqe, kernel);
    operations.push(sqe);
  };
  memory.bytes.fill(7);
  engine.host.write(memory, 4096, 512, FAKE_FILE_FD, 512, 2 ** 31 - 1);
  engine.host.sync(FAKE_FILE_FD, 0);
  engine.host.timeout(2_500_000.5, 5);
  engine.host.write(memory, 0, 512, FAKE_FILE_FD, 0, 6, true);
  idle(rig);
  assertEquals(operations.map(({ opcode }) => opcode), [
    IORING_OP_WRITE,
    IORING_OP_FSYNC,
    IORING_OP_TIMEOUT,
    IORING_OP_WRITE,
  ]);
  assertEquals([0, 3].map((nth) => operations[nth].words[7]), [0, RWF_DSYNC]);
  assertEquals(operations[0].words[4] + operations[0].words[5] * 2 ** 32, memory.address + 4096);
  const [low, high] = operations[2].words.slice(4, 6);
  const timespec = new BigInt64Array(bufferAt(low + high * 2 ** 32, 16));
  assertEquals([...timespec], [2n, 500_000_500n]);
  const results = [512, 0, -ETIME, 512];
  for (const nth of [2, 0, 1, 3]) {
    rig.kernel.complete(operations[nth].userData, KIND_BACKEND, results[nth]);
  }
  idle(rig);
  const done = ["done 5 -62", `done ${2 ** 31 - 1} 512`, "done 0 0", "done 6 512"];
  assertEquals(engine.taken(), ["start", ...done]);
  rig.stop();
});

Deno.test("EngineHandler queues operations beyond the SQEs that are free", () => {
  const operations = 300;
  using memory = memoryOf(4096);
  using rig = rigOf({
    operations,
    batchEnd(this: HoldingEngine) {
      const { host } = this;
      if (this.held.length === 0 || this.calls.includes("end")) return;
      this.calls.push("end");
      for (let nth = 0; nth < operations; nth++) {
        host.write(memory, 0, 16, FAKE_FILE_FD, nth * 16, nth);
      }
    },
  }, { entries: 8, cqEntries: 1024 });
  rig.start(READ);
  const done = () => rig.engine.calls.filter((call) => call.startsWith("done")).length;
  rig.run(() => done() === operations);
  rig.engine.host.answer(rig.engine.held.pop()!, 0);
  rig.stop();
});

Deno.test("EngineHandler wakes an engine whose eventfd is signalled, again and again", () => {
  using rig = rigOf({ wakeFd: WAKE_FD });
  const { engine, kernel, ublk } = rig;
  engine.taken();
  for (let round = 0; round < 3; round++) {
    idle(rig);
    const [listen, ...more] = ublk.foreign.filter(({ kind }) => kind === KIND_WOKEN);
    assertEquals([listen.fd, listen.words[6], more], [WAKE_FD, 8, []]);
    ublk.foreign.splice(ublk.foreign.indexOf(listen), 1);
    kernel.complete(listen.userData, KIND_WOKEN, 8);
    idle(rig);
    assertEquals(engine.taken(), ["woken"]);
  }
  const at = ublk.foreign.findIndex(({ kind }) => kind === KIND_WOKEN);
  ublk.foreign.splice(at, 1);
  kernel.complete(0, KIND_WOKEN, -EAGAIN);
  idle(rig);
  assertEquals(engine.taken(), []);
  assertEquals(ublk.foreign.filter(({ kind }) => kind === KIND_WOKEN), []);
  assertMatch(rig.log().join(), /eventfd cannot be read: it does not block/);
  rig.stop();
});

/** Makes a rig whose operations never complete, and whose cancellations are noted. */
function stuckRig(overrides: Partial<Engine>, bounded = false) {
  const rig = rigOf(overrides, { bounded });
  const operations: FakeSqe[] = [];
  /** Cancelled operations by their user data, and other kinds. */
  const cancelled: number[] = [];
  const others: number[] = [];
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.opcode === IORING_OP_ASYNC_CANCEL) {
      if (sqe.words[5] === KIND_BACKEND) cancelled.push(sqe.words[4]);
      else others.push(sqe.words[5]);
      return kernel.complete(sqe.userData, sqe.kind, 0);
    }
    if (sqe.kind !== KIND_BACKEND) return rig.ublk.handler(sqe, kernel);
    operations.push(sqe);
  };
  const end = () => {
    for (const { userData } of operations.splice(0)) {
      if (!cancelled.includes(userData)) continue;
      rig.kernel.complete(userData, KIND_BACKEND, -ECANCELED);
    }
    cancelled.length = 0;
  };
  return Object.assign(rig, { operations, cancelled, others, end });
}

const READS: Partial<Engine> = {
  request(this: HoldingEngine, request: number) {
    this.held.push(request);
    this.host.readInto(request, 0, 512, FAKE_FILE_FD, 0, request);
  },
  done(this: HoldingEngine, token: number, result: number) {
    this.calls.push(`done ${result}`);
    this.host.answer(token, result < 0 ? -EIO : 0);
  },
  giveUp(this: HoldingEngine) {
    this.calls.push("giveUp");
  },
};

Deno.test("EngineHandler cancels operations and has the engine give up when a drain takes too long", () => {
  using rig = stuckRig(READS);
  const { handler, engine } = rig;
  const read = rig.start(READ);
  const nowUs = monotonicUs();
  handler.drain!();
  assertEquals(handler.expire(nowUs + 2e6, 1e6, 0), 0);
  // It came after the drain had begun, so only the first one is overdue.
  const late = rig.start(READ);
  engine.taken();
  assertEquals(handler.expire(nowUs + 6e6, 1e6, nowUs), 1);
  idle(rig);
  assertEquals(engine.taken(), ["giveUp"]);
  assertEquals(rig.cancelled.length, 2);
  rig.end();
  idle(rig);
  assertEquals([read.result, late.result], [-EIO, -EIO]);
  assertEquals(engine.taken(), ["done -125", "done -125"]);
  assertEquals(handler.expire(nowUs + 7e6, 1e6, nowUs), 0);
  rig.stop();
});

Deno.test("EngineHandler leaves an engine alone that answers what it held when the drain began", () => {
  using rig = rigOf();
  const { handler, engine } = rig;
  rig.start(READ);
  const nowUs = monotonicUs();
  handler.drain!();
  engine.host.answer(engine.held.pop()!, 0);
  rig.start(READ);
  assertEquals(handler.expire(nowUs + 6e6, 1e6, nowUs), 0);
  engine.host.answer(engine.held.pop()!, 0);
  assert(!engine.calls.includes("giveUp"));
  rig.stop();
});

Deno.test("EngineHandler has an engine give up at the deadline where requests are bounded", () => {
  using rig = stuckRig(READS, true);
  const { handler, engine } = rig;
  const read = rig.start(READ);
  engine.taken();
  assertEquals(handler.expire(monotonicUs(), 1e6), 0);
  assertEquals(handler.expire(monotonicUs() + 2e6, 1e6), 1);
  rig.turn();
  rig.end();
  idle(rig);
  assertEquals(read.result, -EIO);
  assertEquals(engine.taken(), ["giveUp", "done -125"]);
  // The device goes on. A drain gives less time to what had begun before it.
  const old = rig.start(READ);
  const nowUs = monotonicUs();
  assertEquals(handler.expire(nowUs, 1e6, nowUs), 1);
  rig.turn();
  rig.end();
  idle(rig);
  assertEquals(old.result, -EIO);
  rig.start(READ);
  handler.expire(monotonicUs() + 2e6, 1e6);
  rig.turn();
  rig.end();
  rig.stop();
});

Deno.test("EngineHandler leaves operations alone that overdue requests do not use, until the engine still holds those", () => {
  const named: string[] = [];
  using rig = stuckRig({
    ...READS,
    giveUp(this: HoldingEngine, isOverdue?: (request: number) => boolean) {
      named.push(this.held.map((request) => isOverdue?.(request) ? "old" : "new").join());
    },
  }, true);
  const { handler, engine } = rig;
  using memory = memoryOf(512);
  rig.start(READ);
  const nowUs = monotonicUs();
  engine.host.write(memory, 0, 512, FAKE_FILE_FD, 0, 99);
  assertEquals(handler.expire(nowUs + 2e6, 1e6), 1);
  idle(rig);
  assertEquals([named.splice(0), rig.cancelled.length], [["old"], 1]);
  handler.expire(nowUs + 3e6, 1e6);
  idle(rig);
  assertEquals([named.splice(0), rig.cancelled.length], [["old"], 1]);
  handler.expire(nowUs + 4e6, 1e6);
  idle(rig);
  assertEquals([named.splice(0), rig.cancelled.length], [["old"], 2]);
  rig.end();
  idle(rig);
  rig.stop();
});

Deno.test("EngineHandler goes on with an engine that gives up what is overdue at each look", () => {
  using rig = stuckRig({
    giveUp(this: HoldingEngine, isOverdue?: (request: number) => boolean) {
      this.calls.push("giveUp");
      for (const request of this.held.splice(0)) {
        if (isOverdue!(request)) this.host.answer(request, -EIO);
        else this.held.push(request);
      }
    },
  }, true);
  const { handler, engine } = rig;
  // Something is overdue at each look, and never the same.
  for (let look = 0; look < 10; look++) {
    const old = rig.start(READ);
    engine.taken();
    assertEquals(handler.expire(monotonicUs() + 2e6 + look * 1e6, 1e6), 1);
    idle(rig);
    assertEquals([engine.taken(), old.result], [["giveUp"], -EIO]);
  }
  assert(!rig.log().some((line) => line.includes("did not give up")));
  rig.stop();
});

Deno.test("EngineHandler answers for an engine that does not give up, once no operation uses the data", () => {
  using rig = stuckRig({ ...READS, giveUp() {}, done() {} });
  const { handler } = rig;
  const read = rig.start(READ);
  const nowUs = monotonicUs();
  handler.drain!();
  handler.expire(nowUs + 6e6, 1e6, nowUs);
  handler.expire(nowUs + 12e6, 1e6, nowUs);
  idle(rig);
  assertEquals(read.result, undefined);
  rig.end();
  idle(rig);
  assertEquals(read.result, -EIO);
  assertMatch(rig.log().join(), /did not give up/);
  assertEquals(rig.io(WRITE).result, -EIO);
  rig.stop();
});

Deno.test("EngineHandler answers ETIMEDOUT for what an engine holds without a reason", () => {
  using rig = rigOf({ giveUp() {} });
  const read = rig.start(READ);
  const nowUs = monotonicUs();
  rig.handler.drain!();
  rig.handler.expire(nowUs + 6e6, 1e6, nowUs);
  rig.handler.expire(nowUs + 12e6, 1e6, nowUs);
  idle(rig);
  assertEquals(read.result, -ETIMEDOUT);
  rig.stop();
});

Deno.test("EngineHandler answers EIO for an engine that throws, from then on", () => {
  using memory = memoryOf(4096);
  const mistakes: [Partial<Engine>, RegExp][] = [
    [{
      request() {
        throw new Error("on purpose");
      },
    }, /engine threw.*\nError: on purpose\n.*engine_handler_test/],
    [{
      batchEnd(this: HoldingEngine) {
        if (this.held.length > 0) throw new Error("in the end");
      },
    }, /in the end/],
    [{
      request(this: HoldingEngine, request: number) {
        this.host.answer(request, 0);
        this.host.answer(request, 0);
      },
    }, /not open/],
    [{
      request(this: HoldingEngine) {
        this.host.answer(99, 0);
      },
    }, /not open/],
    [{
      request(this: HoldingEngine) {
        for (let nth = 0; nth < 5; nth++) this.host.sync(FAKE_FILE_FD, nth);
      },
    }, /too many operations/],
    [{
      request(this: HoldingEngine, request: number) {
        this.host.readInto(request, 512, 4096, FAKE_FILE_FD, 0, 0);
      },
    }, /beyond/],
    ...[[-1, 512], [0, 0], [4000, 512], [0, NaN]].map((
      [at, length],
    ): [Partial<Engine>, RegExp] => [{
      request(this: HoldingEngine) {
        if (at === 0) this.host.read(memory, at, length, FAKE_FILE_FD, 0, 0);
        else this.host.write(memory, at, length, FAKE_FILE_FD, 0, 0);
      },
    }, /beyond/]),
    [{
      request(this: HoldingEngine, request: number) {
        this.host.readInto(request, 0, 4096, FAKE_FILE_FD, 0, 0);
        this.host.answer(request, 0);
      },
    }, /still uses/],
    ...[-1, 0.5, NaN, 2 ** 31].map((token): [Partial<Engine>, RegExp] => [{
      request(this: HoldingEngine) {
        this.host.sync(FAKE_FILE_FD, token);
      },
    }, /no token/]),
    ...[-1, NaN, Infinity].map((time): [Partial<Engine>, RegExp] => [{
      request(this: HoldingEngine) {
        this.host.timeout(time, 0);
      },
    }, /no length of time/]),
  ];
  for (const [overrides, words] of mistakes) {
    using rig = rigOf(overrides);
    const results = [rig.io(READ).result, rig.io(READ).result];
    assert(results[1] === -EIO && results.includes(-EIO), `${words}: ${results}`);
    assertMatch(rig.log().join("\n"), words);
    rig.stop();
  }
});

// As with the other handlers: what is no errno of a block device does not reach its users.
for (const bad of [-EAGAIN, NaN, -0.5, -99999, 4096]) {
  Deno.test(`EngineHandler makes EIO of the answer ${bad}`, () => {
    using rig = rigOf({
      request(this: HoldingEngine, request: number) {
        this.host.answer(request, bad);
      },
    });
    assertEquals(rig.io(READ).result, -EIO);
    rig.stop();
  });
}

Deno.test("QueueServer.finish waits for an engine's operations, and lets none begin", () => {
  const restarted: number[] = [];
  using rig = stuckRig({
    wakeFd: WAKE_FD,
    done(this: HoldingEngine, token: number, result: number) {
      restarted.push(result);
      this.host.timeout(1e6, token);
    },
  });
  rig.engine.host.timeout(1e9, 1);
  rig.ublk.stop();
  rig.run(() => !rig.server.running);
  const { enterTimeout } = rig.kernel;
  let waits = 0;
  rig.kernel.enterTimeout = (...parts) => {
    const taken = enterTimeout.apply(rig.kernel, parts);
    if (waits++ === 2) {
      assertEquals([rig.cancelled.length, rig.others], [1, [KIND_WOKEN]]);
      rig.end();
      rig.kernel.complete(0, KIND_WOKEN, -ECANCELED);
    }
    return taken;
  };
  rig.server.finish();
  assertEquals(waits, 4);
  assertEquals(restarted, [-ECANCELED]);
  rig.assertStopped();
});

Deno.test("EngineHandler drops the answer to a slot that the kernel has taken back", () => {
  using rig = rigOf();
  const read = rig.start(READ);
  const [request] = rig.engine.held;
  rig.slots.requestLeft(request);
  rig.handler.returnedByKernel!(request);
  assertEquals(rig.handler.outstanding, 1);
  rig.engine.host.answer(request, 0);
  assertEquals(rig.handler.outstanding, 0);
  idle(rig);
  assertEquals(read.result, undefined);
});

Deno.test("EngineHandler insists on an operation that is under way", () => {
  using rig = rigOf();
  let caught: unknown;
  try {
    rig.handler.operationDone!(0, 0);
  } catch (error) {
    caught = error;
  }
  assert(caught instanceof AssertionError);
});
