import { assert, assertEquals, assertRejects } from "@std/assert";
import { moduleUrl, telling, withOrder } from "../tests/backend_modules.ts";
import {
  EINVAL,
  EIO,
  ENODEV,
  ENOSPC,
  EOPNOTSUPP,
  EPERM,
  errnoName,
  ETIMEDOUT,
} from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_OP_WRITE_ZEROES,
  UBLK_IO_OP_ZONE_OPEN,
} from "../uapi/ublk_io.ts";
import type { Answer, Backend } from "./backend.ts";
import { checkBackendConformance } from "./conformance.ts";
import { DiskHost, type DiskRequest } from "./host.ts";
import { type MockBackend, mockBackend, mockSpec } from "./mock.ts";
import type { MockFault } from "./mock_faults.ts";

/** A READ of the first block. */
const read = (offset = 0): DiskRequest => {
  return { op: UBLK_IO_OP_READ, offset, length: 512, buffer: new Uint8Array(512) };
};
/** A WRITE of the first block. */
const write = (fua = false): DiskRequest => ({ ...read(), op: UBLK_IO_OP_WRITE, fua });

/** A host of a disk with the given `readAt`, and its reports. */
function hostOf(readAt: () => unknown, deadlineMs?: number, more: Partial<Backend> = {}) {
  const told: string[] = [];
  const disk = { size: 8192, writeAt() {}, ...more, readAt: readAt as () => Answer };
  const host = DiskHost.of(disk, { deadlineMs, report: (text) => told.push(text) });
  return { host, told };
}

/** A backend on top of a host, for the conformance suite. */
function through(host: DiskHost): Backend {
  const { size, blockSize, readOnly } = host.traits;
  const done = async (request: DiskRequest) => {
    const result = await host.request(request);
    if (result < 0) throw new Error(errnoName(result));
  };
  const dataless = (op: number) => (offset: number, length: number, how?: { mayUnmap: boolean }) =>
    done({ op, offset, length, ...how });
  return {
    ...{ size, blockSize, readOnly, fua: true },
    readAt: (buffer, offset) =>
      done({ op: UBLK_IO_OP_READ, offset, length: buffer.length, buffer }),
    writeAt: (buffer, offset, { fua }) =>
      done({ op: UBLK_IO_OP_WRITE, offset, length: buffer.length, buffer, fua }),
    flush: () => done({ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 }),
    trim: dataless(UBLK_IO_OP_DISCARD),
    writeZeroes: dataless(UBLK_IO_OP_WRITE_ZEROES),
  };
}

Deno.test("DiskHost is a conforming disk over one that conforms, in every manner", async () => {
  for (const synchronous of [true, false]) {
    for (const fua of [true, false]) {
      for (const paranoid of [true, false]) {
        const disk = mockBackend({ size: "2MiB", blockSize: 4096, synchronous, fua });
        await using host = DiskHost.of(disk, { paranoid });
        await checkBackendConformance(through(host), { rounds: 40, maxIoBytes: 32 << 10 });
      }
    }
  }
  const faults: MockFault[] = [{ effect: "late", delayMs: 1, rate: 0.2 }];
  await using late = await DiskHost.open(mockSpec({ size: "1MiB", faults }));
  await checkBackendConformance(through(late), { rounds: 50, maxIoBytes: 32 << 10 });
});

Deno.test("DiskHost answers at once where the backend does", () => {
  const { host } = hostOf(() => {});
  assertEquals(host.request(read()), 512);
  assertEquals(host.request(write()), 512);
});

Deno.test("DiskHost gives the errno of what is thrown, at once or later, and reports it", async () => {
  const full = new UblkError("SYSCALL_FAILED", { operation: "pwrite", errno: ENOSPC });
  const throws: [() => unknown, number][] = [
    [() => {
      throw full;
    }, ENOSPC],
    [() => Promise.reject(full), ENOSPC],
    [() => Promise.reject(Object.assign(new Error("odd"), { code: "ENOENT" })), EIO],
    [() => ({ then: (_: unknown, reject: (thrown: unknown) => void) => reject("text") }), EIO],
    [() => 100, EIO],
    [() => Promise.resolve(100), EIO],
  ];
  for (const [readAt, errno] of throws) {
    const { host, told } = hostOf(readAt);
    assertEquals(await host.request(read(512)), -errno);
    assertEquals(told.length, 1);
    assert(told[0].startsWith("operation 0 at 512: "), told[0]);
  }
  const { host } = hostOf(() => Promise.resolve(512));
  assertEquals(await host.request(read()), 512);
});

Deno.test("DiskHost answers ETIMEDOUT by the deadline, and a late answer is nobody's", async () => {
  const answers: PromiseWithResolvers<unknown>[] = [];
  const disk = hostOf(() => {
    answers.push(Promise.withResolvers());
    return answers.at(-1)!.promise;
  }, 5);
  const { host, told } = disk;
  const never = host.request(read(512));
  const slow = host.request(read(1024), 60_000);
  assertEquals(await never, -ETIMEDOUT);
  assert(/^operation 0 at 512: no answer from the backend in \d+ ms; /.test(told[0]), told[0]);
  // Neither late success nor late failure is an answer or a fault.
  answers[0].reject(new Error("late"));
  answers[1].resolve(undefined);
  assertEquals([await slow, told.length], [512, 1]);
  await host.close();
});

Deno.test("DiskHost waits for ever where no deadline is wanted", async () => {
  // `setTimeout` with such a long delay would fire at once.
  const { promise, resolve } = Promise.withResolvers<void>();
  const { host } = hostOf(() => promise, Infinity);
  const answer = host.request(read());
  await new Promise((resolve) => setTimeout(resolve, 10));
  resolve();
  assertEquals(await answer, 512);
});

Deno.test("DiskHost lends no more buffers to a backend that keeps many beyond their deadlines", async () => {
  const answers: PromiseWithResolvers<unknown>[] = [];
  const { host, told } = hostOf(() => {
    answers.push(Promise.withResolvers());
    return answers.at(-1)!.promise;
  }, 1);
  const results = await Promise.all(Array.from({ length: 256 }, () => host.request(read())));
  assertEquals(new Set(results), new Set([-ETIMEDOUT]));
  assertEquals(host.request(read()), -EIO);
  assertEquals([answers.length, told.length], [256, 257]);
  // The host continues once the backend answers again.
  answers[7].resolve(undefined);
  await answers[7].promise;
  await new Promise((resolve) => setTimeout(resolve));
  const again = host.request(read());
  answers[256].resolve(undefined);
  assertEquals(await again, 512);
});

Deno.test("DiskHost refuses the Promise of a backend that declares to have none", async () => {
  const promises = [Promise.resolve(), Promise.reject(new Error("nobody hears this"))];
  for (const promise of promises) {
    const { host, told } = hostOf(() => promise, 1000, { synchronous: true });
    assertEquals(host.request(read()), -EIO);
    assertEquals(told, ["a backend that declares `synchronous` returned a Promise"]);
    await host.close();
  }
});

Deno.test("DiskHost calls nothing for what a disk cannot be asked", () => {
  const disk = mockBackend({ size: 65536, blockSize: 4096 });
  const host = DiskHost.of(disk);
  const at = (offset: number, length: number) => {
    return { op: UBLK_IO_OP_READ, offset, length, buffer: new Uint8Array(Math.max(0, length)) };
  };
  const wrong: [Partial<DiskRequest>, number][] = [
    [at(512, 4096), EINVAL],
    [at(0, 512), EINVAL],
    [at(0, 0), EINVAL],
    [at(-4096, 4096), EINVAL],
    [at(65536, 4096), EINVAL],
    [at(61440, 8192), EINVAL],
    [at(NaN, 4096), EINVAL],
    [at(4096.5, 4096), EINVAL],
    [at(Infinity, 4096), EINVAL],
    [{ ...at(0, 4096), length: 8192 }, EINVAL],
    [{ ...at(0, 4096), buffer: undefined }, EINVAL],
    [{ ...at(0, 0), op: UBLK_IO_OP_DISCARD }, EINVAL],
    [{ ...at(0, 131072), op: UBLK_IO_OP_WRITE_ZEROES }, EINVAL],
    [{ ...at(0, 4096), op: UBLK_IO_OP_ZONE_OPEN }, EOPNOTSUPP],
    [{ ...at(0, 4096), op: 99 }, EOPNOTSUPP],
  ];
  for (const [request, errno] of wrong) {
    assertEquals(host.request(request as DiskRequest), -errno, JSON.stringify(request));
  }
  assertEquals(disk.calls.list(), []);
  assertEquals(host.request(at(61440, 4096)), 4096);
});

Deno.test("DiskHost goes by the size that the disk has now", () => {
  const disk = { size: 4096, readAt() {}, writeAt() {} };
  const host = DiskHost.of(disk);
  assertEquals(host.request(read(4096)), -EINVAL);
  disk.size = 8192;
  assertEquals([host.request(read(4096)), host.size], [512, 8192]);
});

Deno.test("DiskHost goes by the traits: what is not there is not supported, and flushing is done", () => {
  const off = { trim: false, writeZeroes: false, flush: false, fua: false };
  const bare = mockBackend({ ...off, size: 8192 });
  const host = DiskHost.of(bare);
  const range = { offset: 0, length: 512 };
  assertEquals(host.request({ op: UBLK_IO_OP_DISCARD, ...range }), -EOPNOTSUPP);
  assertEquals(host.request({ op: UBLK_IO_OP_WRITE_ZEROES, ...range }), -EOPNOTSUPP);
  assertEquals(host.request({ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 }), 0);
  assertEquals(bare.calls.list(), []);
  // The write is final when answered.
  assertEquals(host.request(write(true)), 512);
  const closed = mockBackend({ size: 8192, readOnly: true });
  const readOnly = DiskHost.of(closed);
  for (const op of [UBLK_IO_OP_WRITE, UBLK_IO_OP_DISCARD, UBLK_IO_OP_WRITE_ZEROES]) {
    assertEquals(readOnly.request({ ...read(), op }), -EPERM);
  }
  assertEquals(readOnly.request(read()), 512);
  assertEquals(closed.calls.list().map(({ op }) => op), ["readAt"]);
});

/** The calls of a mock backend, in short form. */
function asked({ calls }: MockBackend): string[] {
  return calls.list().map(({ op, fua, mayUnmap }) =>
    `${op}${fua ? " fua" : ""}${mayUnmap ? " may unmap" : ""}`
  );
}

Deno.test("DiskHost passes FUA on where the disk honours it, and else flushes behind the write", async () => {
  const honours = mockBackend({ size: 8192 });
  assertEquals(await DiskHost.of(honours).request(write(true)), 512);
  assertEquals(asked(honours), ["writeAt fua"]);
  const synchronous = mockBackend({ size: 8192, fua: false, synchronous: true });
  assertEquals(DiskHost.of(synchronous).request(write(true)), 512);
  assertEquals(asked(synchronous).map((call) => call.split(" ")[0]), ["writeAt", "flush"]);
  const order: string[] = [];
  const late = {
    size: 8192,
    readAt() {},
    async writeAt() {
      await new Promise((resolve) => setTimeout(resolve, 1));
      order.push("written");
    },
    flush: () => void order.push("flushed"),
  };
  const host = DiskHost.of(late);
  assertEquals([await host.request(write(true)), order], [512, ["written", "flushed"]]);
  const failing = DiskHost.of({ ...late, writeAt: () => Promise.reject(new Error("no")) });
  assertEquals([await failing.request(write(true)), order.length], [-EIO, 2]);
  const short = DiskHost.of({ ...late, writeAt: () => 100 as unknown as void });
  assertEquals([short.request(write(true)), order.length], [-EIO, 2]);
  await host.close();
  // What is right for a flush that is asked for is right for this one.
  for (const flush of [() => 0, () => Promise.resolve(0)]) {
    const counts = DiskHost.of({ ...late, flush: flush as unknown as () => void });
    assertEquals(await counts.request({ op: UBLK_IO_OP_FLUSH, offset: 0, length: 0 }), 0);
    assertEquals(await counts.request(write(true)), 512);
  }
});

// Its descriptors may be somebody else's by then.
Deno.test("DiskHost flushes no disk that was closed while the write was late", async () => {
  const order: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const host = DiskHost.of({
    size: 8192,
    readAt() {},
    writeAt: () => promise,
    flush: () => void order.push("flush"),
    close: () => void order.push("close"),
  });
  const answer = host.request(write(true));
  await host.close(5);
  resolve();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals([await answer, order], [-ETIMEDOUT, ["close"]]);
});

Deno.test("DiskHost says of zeroes whether their space may be given back", () => {
  const disk = mockBackend({ size: 8192 });
  const host = DiskHost.of(disk);
  for (const mayUnmap of [undefined, false, true]) {
    host.request({ op: UBLK_IO_OP_WRITE_ZEROES, offset: 0, length: 512, mayUnmap });
  }
  assertEquals(asked(disk), ["writeZeroes", "writeZeroes", "writeZeroes may unmap"]);
});

Deno.test("DiskHost.close lets the requests in flight end, and takes no more", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const order: string[] = [];
  const { host } = hostOf(() => promise, 60_000, { close: () => void order.push("closed") });
  const request = Promise.resolve(host.request(read())).then(() => order.push("answered"));
  const end = host.close();
  assertEquals(host.request(read()), -ENODEV);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(order, []);
  resolve();
  await Promise.all([request, end]);
  assertEquals(order, ["answered", "closed"]);
  assertEquals(host.request(write()), -ENODEV);
  await host.close();
  assertEquals(order.length, 2, "once");
});

Deno.test("DiskHost.close waits for each of several requests", async () => {
  const answers: PromiseWithResolvers<void>[] = [];
  const order: string[] = [];
  const { host } = hostOf(
    () => {
      answers.push(Promise.withResolvers());
      return answers.at(-1)!.promise;
    },
    60_000,
    { close: () => void order.push("closed") },
  );
  const requests = [read(), read()].map(async (request) => {
    await host.request(request);
    order.push("answered");
  });
  const end = host.close();
  for (const { resolve } of answers) {
    resolve();
    await new Promise((resolve) => setTimeout(resolve));
  }
  await Promise.all([...requests, end]);
  assertEquals(order, ["answered", "answered", "closed"]);
});

Deno.test("DiskHost.close waits for what hangs no longer than its deadline", async () => {
  const hangs = hostOf(() => new Promise(() => {}), Infinity);
  const requests = [host(hangs), host(hangs)];
  await hangs.host.close(5);
  assertEquals(await Promise.all(requests), [-ETIMEDOUT, -ETIMEDOUT]);
  const stuck = hostOf(() => {}, 5, { close: () => new Promise(() => {}) });
  const error = await assertRejects(() => stuck.host.close(), UblkError, "in 5 ms");
  assertEquals(error.errno, ETIMEDOUT);
  function host({ host }: typeof hangs) {
    return host.request(read());
  }
});

Deno.test("DiskHost.open opens a stack with its wrappers, and closes it as a thread does", async () => {
  const order = withOrder();
  const stack = { ...telling("a"), inner: [telling("b")] };
  {
    await using host = await DiskHost.open(stack);
    assertEquals([host.request(read()), host.traits.size], [512, 512]);
  }
  assertEquals(order.splice(0), [
    ...["share b", "share a", "open b", "open a"],
    ...["close a", "close b", "unshare a", "unshare b"],
  ]);
  const failing = { ...telling("a", { open: "return {};" }), inner: [telling("b")] };
  await assertRejects(() => DiskHost.open(failing), UblkError, "is not a function");
  assertEquals(order.slice(-3), ["close b", "unshare a", "unshare b"]);
});

Deno.test("DiskHost.open tells of a device that is recovered", async () => {
  const module = moduleUrl(`
    export const open = (_, { recovering, deviceBlockSize, queue }) =>
      ({ size: 4096, readAt() {}, writeAt() {}, told: [recovering, deviceBlockSize, queue] });`);
  await using host = await DiskHost.open({ module }, { recovered: { blockSize: 4096 }, queue: 2 });
  assertEquals((host.backend as unknown as { told: unknown }).told, [true, 4096, 2]);
});

Deno.test("DiskHost catches kept buffers where it is paranoid", async () => {
  const told: string[] = [];
  const disk = mockBackend({ size: 8192, faults: [{ effect: "keep", nth: 1 }] });
  const host = DiskHost.of(disk, { paranoid: true, report: (text) => told.push(text) });
  for (let call = 0; call < 3; call++) host.request(read());
  await host.close();
  assertEquals(told, [
    "the backend wrote to a buffer after it had answered: buffers are borrowed",
  ]);
});

Deno.test("extentAt + lies, errors, silence, and none at all + are an errno, or all data", async () => {
  const cases: [answer: () => unknown, expected: unknown][] = [
    [() => ({ length: 512, isHole: true }), { length: 512, isHole: true }],
    [() => Promise.resolve({ length: 1024, isHole: false }), { length: 1024, isHole: false }],
    [() => ({ length: 0, isHole: true }), -EIO],
    [() => ({ length: 2048, isHole: true }), -EIO],
    [() => ({ length: 100, isHole: true }), -EIO],
    [() => ({ length: 512 }), -EIO],
    [() => undefined, -EIO],
    [() => Promise.resolve(null), -EIO],
    [() => Promise.reject(new Error("no")), -EIO],
    [() => {
      throw new UblkError("SYSCALL_FAILED", { operation: "look", errno: ENOSPC });
    }, -ENOSPC],
    [() => new Promise(() => {}), -ETIMEDOUT],
  ];
  for (const [answer, expected] of cases) {
    const { host } = hostOf(() => {}, 20, { extentAt: answer as Backend["extentAt"] });
    assertEquals(await host.extentAt(0, 1024), expected as never, `${answer}`);
    await host.close();
    assertEquals(await host.extentAt(0, 1024), -ENODEV);
  }
  const { host } = hostOf(() => {});
  assertEquals(await host.extentAt(512, 1024), { length: 1024, isHole: false });
});
