import { assertEquals } from "@std/assert";
import { plainFileRig } from "../tests/plain_file_rig.ts";
import type { QueueRig, RigOptions } from "../tests/queue_rig.ts";
import { ECANCELED, EIO, ENOMEM, ENOSPC, ETIME } from "../uapi/errno.ts";
import { IORING_REGISTER_BUFFERS } from "../uapi/io_uring_register.ts";
import {
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IOSQE_IO_LINK,
} from "../uapi/io_uring_sqe.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
  UBLK_IO_RES_ABORT,
} from "../uapi/ublk_io.ts";
import { monotonicUs } from "../uring/libc.ts";
import { KIND_IO, KIND_LEAVE } from "./slots.ts";

const BYTES = 4096;
const DEPTH = 12;
const dataOf = (nth: number) => new Uint8Array(BYTES).map((_, at) => at * 7 + nth);
const writes = (count: number) =>
  Array.from({ length: count }, (_, nth) => {
    return { op: UBLK_IO_OP_WRITE, sector: 8 * nth, sectors: 8, data: dataOf(nth) };
  });
const reads = (count: number) =>
  Array.from({ length: count }, (_, nth) => {
    return { op: UBLK_IO_OP_READ, sector: 8 * nth, sectors: 8 };
  });

function setUp(options: Parameters<typeof plainFileRig>[0]) {
  const { rig, file, prepared, [Symbol.dispose]: dispose } = plainFileRig({
    depth: DEPTH,
    ...options,
  });
  return {
    rig,
    file,
    prepared,
    /** Submits all requests at once. */
    all(ios: Parameters<QueueRig["ublk"]["submitIo"]>[1][], queue = 0) {
      return ios.map((io) => rig.ublk.submitIo(queue, io));
    },
    /** The number of operations so far with a linked answer. */
    get linked() {
      return file.operations.filter(({ flags }) => (flags & IOSQE_IO_LINK) !== 0).length;
    },
    get counts() {
      const { reads, writes, bytesRead, bytesWritten, errors } = rig.stats();
      return [reads, writes, bytesRead, bytesWritten, errors];
    },
    get underWay() {
      return [rig.slots.held, rig.handler.outstanding];
    },
    [Symbol.dispose]: dispose,
  };
}

for (const path of ["copy", "auto-zero-copy"] as const) {
  Deno.test(`Express on ${path} serves what comes at once, in two turns and with nothing linked`, () => {
    using it = setUp({ path });
    for (let round = 0; round < 5; round++) {
      const [enters, before] = [it.rig.kernel.enters, it.linked];
      const written = it.all(writes(DEPTH));
      it.rig.run(() => written.every(({ result }) => result !== undefined));
      assertEquals(written.map(({ results }) => results), written.map(() => [BYTES]));
      const read = it.all(reads(DEPTH));
      it.rig.run(() => read.every(({ result }) => result !== undefined));
      assertEquals(read.map(({ data }) => data), read.map((_, nth) => dataOf(nth)));
      assertEquals(it.linked, before);
      // For the requests, the completions of their operations, and the answers.
      assertEquals(it.rig.kernel.enters - enters <= 6, true);
    }
    const each = 5 * DEPTH;
    assertEquals(it.counts, [each, each, each * BYTES, each * BYTES, 0]);
    assertEquals([it.underWay, it.prepared], [[0, 0], []]);
    it.rig.stop();
  });
}

Deno.test("Express leaves few requests at a time to the kernel, and takes over what had been", () => {
  using it = setUp({});
  // Tags 0 and 1 count as held from here on, because no completion reports their answers.
  const few = it.all(reads(2));
  it.rig.run(() => few.every(({ result }) => result !== undefined));
  assertEquals([it.linked, it.underWay], [2, [2, 2]]);
  const many = it.all(reads(DEPTH));
  it.rig.run(() => many.every(({ result }) => result !== undefined));
  assertEquals([it.linked, it.underWay], [2, [0, 0]]);
  it.rig.io(reads(1)[0]);
  assertEquals([it.linked, it.underWay, it.counts[0]], [3, [1, 1], DEPTH + 3]);
  it.rig.stop();
});

Deno.test("Express lets a round pass now and then, so that latencies are known", () => {
  using it = setUp({});
  for (let round = 0; round < 100; round++) {
    const requests = it.all(reads(DEPTH));
    it.rig.run(() => requests.every(({ result }) => result === BYTES));
  }
  const { latency, reads: count } = it.rig.stats();
  assertEquals(count, 100 * DEPTH);
  const isSome = latency.read.count >= DEPTH && latency.read.count < 10 * DEPTH;
  assertEquals(isSome, true, `${latency.read.count} are timed`);
  it.rig.stop();
});

Deno.test("Express carries offsets beyond 32 bits, and sectors beyond", () => {
  const sectors = [2 ** 23 - 1, 2 ** 23, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 40 + 5];
  using it = setUp({});
  it.file.results.push(...sectors.map(() => BYTES));
  const requests = it.all(sectors.map((sector) => ({ ...reads(1)[0], sector })));
  it.rig.run(() => requests.every(({ result }) => result === BYTES));
  const offsets = it.file.operations.map(({ words }) => words[2] + words[3] * 2 ** 32);
  assertEquals(offsets, sectors.map((sector) => sector * 512));
  it.rig.stop();
});

Deno.test("Express leaves aside what is not plain, and goes on behind it", () => {
  using it = setUp({});
  const [first, second, ...others] = writes(DEPTH - 2);
  const mixed = [first, { op: UBLK_IO_OP_FLUSH }, { ...second, flags: UBLK_IO_F_FUA }, ...others];
  const requests = it.all(mixed);
  it.rig.run(() => requests.every(({ result }) => result !== undefined));
  assertEquals(
    requests.map(({ results }) => results),
    mixed.map(({ op }) => {
      return [op === UBLK_IO_OP_FLUSH ? 0 : BYTES];
    }),
  );
  assertEquals(it.prepared, [UBLK_IO_OP_FLUSH, UBLK_IO_OP_WRITE]);
  assertEquals([it.underWay, it.counts[1]], [[0, 0], DEPTH - 2]);
  it.rig.stop();
});

for (const path of ["copy", "auto-zero-copy"] as const) {
  Deno.test(`Express on ${path} has the backend do again what was short, or failed`, () => {
    using it = setUp({ path });
    it.file.results.push(undefined, 512, 0, -EIO, -ECANCELED);
    const requests = it.all(writes(DEPTH));
    it.rig.run(() => requests.every(({ result }) => result !== undefined));
    const expected = requests.map((_, nth) => [nth === 4 ? -EIO : BYTES]);
    assertEquals(requests.map(({ results }) => results), expected);
    assertEquals(it.prepared.length, 3);
    assertEquals(it.counts, [0, DEPTH - 1, 0, (DEPTH - 1) * BYTES, 1]);
    assertEquals(it.underWay, [0, 0]);
    it.rig.stop();
  });
}

Deno.test("Express answers the error that stays, and counts no success", () => {
  using it = setUp({});
  const requests = it.all(writes(DEPTH));
  // Both the first attempt and the repeated one fail.
  it.file.results.push(...[...requests, ...requests].map(() => -ENOSPC));
  it.rig.run(() => requests.every(({ result }) => result !== undefined));
  assertEquals(requests.map(({ results }) => results), requests.map(() => [-ENOSPC]));
  assertEquals([it.counts, it.underWay], [[0, 0, 0, 0, DEPTH], [0, 0]]);
  it.rig.stop();
});

Deno.test("Express's operations are cancelled when the patience with a stopping device ends", () => {
  using it = setUp({});
  it.file.held = true;
  const requests = it.all(reads(6));
  it.rig.run(() => it.rig.handler.outstanding === 6);
  it.rig.turn();
  assertEquals(it.rig.handler.expire(monotonicUs(), 0, monotonicUs()), 6);
  it.rig.turn();
  it.file.results.push(...requests.map(() => -ECANCELED));
  it.file.release();
  it.rig.run(() => requests.every(({ result }) => result !== undefined));
  assertEquals(requests.map(({ results }) => results), requests.map(() => [-EIO]));
  assertEquals([it.prepared, it.underWay, it.counts], [[], [0, 0], [0, 0, 0, 0, 6]]);
});

Deno.test("Express's operations under way are answered before the server leaves a quiesced device", () => {
  using it = setUp({});
  const { rig, file } = it;
  file.held = true;
  const requests = it.all(writes(6));
  rig.run(() => rig.handler.outstanding === 6);
  rig.turn();
  // The kernel returns the tags without a request, and forgets the others.
  for (let tag = 6; tag < DEPTH; tag++) rig.kernel.complete(tag, KIND_IO, UBLK_IO_RES_ABORT);
  rig.turn();
  rig.turn();
  rig.kernel.complete(0, KIND_LEAVE, -ETIME);
  rig.turn();
  assertEquals([rig.server.running, it.underWay], [true, [6, 6]]);
  file.release();
  rig.turn();
  rig.server.finish();
  assertEquals(requests.map(({ results }) => results), requests.map(() => [BYTES]));
  assertEquals([rig.server.running, it.underWay], [false, [0, 0]]);
});

Deno.test("Express is not there where a thread has two queues, or the ring no SQEs to spare", () => {
  for (const options of [{ queues: 2 }, { entries: 32 }]) {
    using it = setUp(options);
    const requests = it.all(writes(6));
    it.rig.run(() => requests.every(({ result }) => result !== undefined));
    assertEquals(it.linked, 6);
    it.rig.stop();
  }
});

/** Makes a rig whose file bypasses the page cache, and records the registered buffers. */
function setUpDirect(refusal = 0, options: Partial<RigOptions> = {}) {
  const registered: number[] = [];
  const it = setUp({
    maxIoBytes: 64 << 10,
    methods: { preferZeroCopy: true },
    onRegister(opcode, argument, count) {
      if (opcode !== IORING_REGISTER_BUFFERS) return 0;
      if (refusal > 0) return -refusal;
      const iovecs = new BigUint64Array(argument!.buffer);
      for (let nth = 0; nth < count; nth++) registered.push(Number(iovecs[nth * 2 + 1]));
      return 0;
    },
    ...options,
  });
  return Object.assign(it, { registered });
}

Deno.test("PlainTransfers past the page cache use registered buffers as far as these go", () => {
  using it = setUpDirect();
  assertEquals(it.registered, new Array(DEPTH).fill(32 << 10));
  const sizes = [8, 64, 65, 128];
  const data = new Uint8Array(64 << 10);
  const ios = sizes.flatMap((sectors) => [
    { op: UBLK_IO_OP_WRITE, sector: 0, sectors, data: data.subarray(0, sectors * 512) },
    { op: UBLK_IO_OP_READ, sector: 0, sectors },
  ]);
  it.file.results.push(...[...ios, ...ios].map(({ sectors }) => sectors * 512));
  const fixed = [IORING_OP_WRITE_FIXED, IORING_OP_READ_FIXED];
  const plain = [IORING_OP_WRITE, IORING_OP_READ];
  const expected = [...fixed, ...fixed, ...plain, ...plain];
  // Many requests at once, then one at a time.
  const requests = it.all(ios);
  it.rig.run(() => requests.every(({ result }) => result !== undefined));
  assertEquals(it.file.operations.map(({ opcode }) => opcode), expected);
  const places = it.file.operations.map(({ words }) => words[10]);
  assertEquals(places, ios.map((_, slot) => slot));
  it.file.operations.length = 0;
  for (const io of ios) it.rig.io(io);
  assertEquals(it.file.operations.map(({ opcode }) => opcode), expected);
  it.rig.stop();
});

Deno.test("PlainTransfers do without registered buffers where the kernel refuses them", () => {
  using it = setUpDirect(ENOMEM);
  const written = it.all(writes(DEPTH));
  it.rig.run(() => written.every(({ result }) => result === BYTES));
  assertEquals(it.rig.io(reads(3)[2]).data, dataOf(2));
  const opcodes = new Set(it.file.operations.map(({ opcode }) => opcode));
  assertEquals([...opcodes], [IORING_OP_WRITE, IORING_OP_READ]);
  it.rig.stop();
});

Deno.test("PlainTransfers register no buffers of too many slots, or for a file in the page cache", () => {
  using many = setUpDirect(0, { queues: 2, depth: 2048 + 1 });
  assertEquals(many.registered, []);
  using cached = setUpDirect(0, { methods: {} } as Partial<RigOptions>);
  assertEquals(cached.registered, []);
});
