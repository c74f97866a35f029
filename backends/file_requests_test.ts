import { assert, assertEquals } from "@std/assert";
import { KIND_BACKEND } from "../queue/slots.ts";
import { DiskModel } from "../tests/disk_model.ts";
import { QueueRig } from "../tests/queue_rig.ts";
import { ECANCELED, EDQUOT, EINTR, EIO, ENOSPC, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_READ,
  IORING_OP_WRITE,
} from "../uapi/io_uring_sqe.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import type { FakeSqe } from "../uring/fake_sqe.ts";
import { bufferAt } from "../uring/mapping.ts";
import type { Backend } from "../disk/backend.ts";
import { FileRequests } from "./file_requests.ts";
import { LostWrites } from "./lost_writes.ts";
import { StripeLayout } from "./stripe_layout.ts";
import { eachSeed } from "../tests/seeds.ts";

const CHUNK = 4096;
const FIRST_FD = 100;
const FALLOC_FL_ZERO_RANGE = 16;

/** Faults of the files. */
interface Manner {
  seed: number;
  /** Every third transfer is short, or interrupted. */
  short?: boolean;
  /** The result of FALLOC_FL_ZERO_RANGE. */
  zeroRange?: number;
  /** One operation in `oneIn` fails with this errno. */
  failing?: { oneIn: number; errno: number };
}

function unused(): never {
  throw new Error("the ring serves this backend");
}

/** A serving thread whose backend has files in memory, behind a ring with faults. */
function rigOf(files: number, bytesEach: number, manner: Manner, lost?: SharedArrayBuffer) {
  const contents = Array.from({ length: files }, () => new Uint8Array(bytesEach));
  const dice = new Dice(manner.seed);
  const fds = contents.map((_, index) => FIRST_FD + index);
  const layout = new StripeLayout(files, CHUNK);
  const backend: Backend = {
    size: files * bytesEach,
    synchronous: true,
    // The ring serves it: that they are there says what it can do.
    ...{ readAt: unused, writeAt: unused, flush: unused, trim: unused, writeZeroes: unused },
    ring: new FileRequests({ fds, layout, direct: false, lost }),
  };
  const faults = { delay: 0.3, reorder: 0.3, shortSubmit: 0.2, earlyReturn: 0.2, eintr: 0.05 };
  const rig = new QueueRig({ backend, depth: 8, seed: manner.seed, faults, entries: 512 });
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.kind !== KIND_BACKEND) return rig.ublk.handler(sqe, kernel);
    kernel.complete(
      sqe.userData,
      sqe.kind,
      perform(sqe, contents[sqe.fd - FIRST_FD], dice, manner),
    );
  };
  return Object.assign(rig.fetch(), { contents });
}

/** Performs an operation on a file as the kernel does. */
function perform({ opcode, words }: FakeSqe, file: Uint8Array, dice: Dice, manner: Manner) {
  const { failing, short, zeroRange = 0 } = manner;
  if (failing !== undefined && dice.draw(failing.oneIn) === 0) return -failing.errno;
  const offset = words[2] + words[3] * 2 ** 32;
  const address = words[4] + words[5] * 2 ** 32;
  if (opcode === IORING_OP_FALLOCATE) {
    const mode = words[6];
    if (mode & FALLOC_FL_ZERO_RANGE && zeroRange < 0) return zeroRange;
    if (mode !== 1) file.fill(0, offset, offset + address);
    return 0;
  }
  if (opcode !== IORING_OP_READ && opcode !== IORING_OP_WRITE) return 0;
  if (short && dice.draw(6) === 0) return -EINTR;
  const asked = Math.min(words[6], Math.max(0, file.length - offset));
  const bytes = short && dice.draw(3) === 0 && asked > 0 ? 1 + dice.draw(asked) : asked;
  const data = new Uint8Array(bufferAt(address, Math.max(bytes, 1)), 0, bytes);
  const part = file.subarray(offset, offset + bytes);
  if (opcode === IORING_OP_READ) data.set(part);
  else part.set(data);
  return bytes;
}

const MANNERS: [string, Omit<Manner, "seed">][] = [
  ["", {}],
  [", short and interrupted", { short: true }],
  [", without FALLOC_FL_ZERO_RANGE", { zeroRange: -EOPNOTSUPP, short: true }],
];

for (const files of [1, 2, 5]) {
  for (const [how, manner] of MANNERS) {
    Deno.test(`FileRequests over ${files} files are the disk that their model is${how}`, async (t) => {
      await eachSeed(t, 3, (seed) => {
        const bytesEach = 128 * CHUNK;
        using rig = rigOf(files, bytesEach, { seed, ...manner });
        const model = new DiskModel(files * bytesEach, 512, 64 << 10, new Dice(seed));
        for (let round = 0; round < 20; round++) {
          const batch = model.batch(8);
          const requests = batch.map(({ io }) => rig.ublk.submitIo(0, io));
          rig.run(() => requests.every(({ result }) => result !== undefined));
          for (const [index, { check }] of batch.entries()) check(requests[index]);
        }
        rig.stop();
      });
    });
  }
}

Deno.test("FileRequests answer each request once whatever fails, and go on", async (t) => {
  for (const errno of [ENOSPC, EIO, EDQUOT]) {
    await eachSeed(t, 3, (seed) => {
      const manner = { seed, short: true, failing: { oneIn: 20, errno } };
      using rig = rigOf(3, 128 * CHUNK, manner);
      const model = new DiskModel(3 * 128 * CHUNK, 512, 64 << 10, new Dice(seed));
      let failed = 0;
      for (let round = 0; round < 20; round++) {
        const requests = model.batch(8).map(({ io }) => rig.ublk.submitIo(0, io));
        rig.run(() => requests.every(({ result }) => result !== undefined));
        for (const { result, io: { op, flags } } of requests) {
          if (result! >= 0) continue;
          failed++;
          const syncs = op === UBLK_IO_OP_FLUSH || (flags & UBLK_IO_F_FUA) !== 0;
          // An earlier one may have failed.
          if (syncs && result === -EIO) continue;
          assertEquals(result, errno === EDQUOT ? -ENOSPC : -errno);
        }
      }
      assert(failed > 0);
      rig.stop();
    });
  }
});

Deno.test("FileRequests flush every file, also behind those that fail", () => {
  const files = 20;
  for (const bad of [[0], [0, 1, 2, 3, 4, 5, 6, 7], [19]]) {
    using rig = rigOf(files, 16 * CHUNK, { seed: 1 });
    const handler = rig.kernel.handler;
    const synced: number[] = [];
    rig.kernel.handler = (sqe, kernel) => {
      if (sqe.kind !== KIND_BACKEND || sqe.opcode !== IORING_OP_FSYNC) return handler(sqe, kernel);
      synced.push(sqe.fd - FIRST_FD);
      const result = bad.includes(sqe.fd - FIRST_FD) ? -EIO : 0;
      kernel.complete(sqe.userData, sqe.kind, result);
    };
    assertEquals(rig.io({ op: UBLK_IO_OP_FLUSH }).result, -EIO);
    assertEquals(
      synced.toSorted((a, b) => a - b),
      Array.from({ length: files }, (_, file) => file),
    );
    assertEquals(rig.io({ op: UBLK_IO_OP_READ, sectors: 24 }).result, 24 * 512, "it goes on");
    rig.stop();
  }
});

/** The `nth` sync of a rig ends with an errno; the others succeed. */
function failSync(rig: ReturnType<typeof rigOf>, nth: number, errno: number) {
  const { handler } = rig.kernel;
  let syncs = 0;
  rig.kernel.handler = (sqe, kernel) => {
    if (sqe.kind !== KIND_BACKEND || sqe.opcode !== IORING_OP_FSYNC) return handler(sqe, kernel);
    kernel.complete(sqe.userData, sqe.kind, ++syncs === nth ? -errno : 0);
  };
  return () => syncs;
}

const FLUSH = { op: UBLK_IO_OP_FLUSH };
const FUA_WRITE = { op: UBLK_IO_OP_WRITE, sectors: 8, flags: UBLK_IO_F_FUA };

// The kernel tells of a failure once. The next flush succeeded, and what had been answered was lost.
for (const first of [FLUSH, FUA_WRITE]) {
  const name = first === FLUSH ? "flush" : "FUA write";
  Deno.test(`FileRequests + a ${name} whose fdatasync fails + no later one of any thread succeeds`, () => {
    const lost = LostWrites.memory();
    const rigs = [1, 2].map((seed) => rigOf(2, 16 * CHUNK, { seed }, lost));
    const syncs = failSync(rigs[0], 1, ENOSPC);
    assertEquals(rigs[0].io(first).result, -ENOSPC);
    const before = syncs();
    for (const rig of rigs) {
      assertEquals([rig.io(FLUSH).result, rig.io(FUA_WRITE).result], [-EIO, -EIO]);
      const { result } = rig.io({ op: UBLK_IO_OP_WRITE, sectors: 8 });
      assertEquals(result, 8 * 512, "all else goes on");
    }
    assertEquals(syncs(), before);
    for (const rig of rigs) {
      rig.stop();
      rig[Symbol.dispose]();
    }
  });
}

Deno.test("FileRequests + an fdatasync that was given up + the next flush succeeds", () => {
  for (const errno of [EINTR, ECANCELED]) {
    using rig = rigOf(1, 16 * CHUNK, { seed: 1 });
    failSync(rig, 1, errno);
    assert(rig.io(FLUSH).result! < 0);
    assertEquals([rig.io(FLUSH).result, rig.io(FUA_WRITE).result], [0, 8 * 512]);
    rig.stop();
  }
});

Deno.test("FileRequests + a flush fails in another thread meanwhile + this one fails too", () => {
  const lost = LostWrites.memory();
  using rig = rigOf(1, 16 * CHUNK, { seed: 1 }, lost);
  const { handler } = rig.kernel;
  rig.kernel.handler = (sqe, kernel) => {
    // The other thread was told, so that this one is not.
    if (sqe.opcode === IORING_OP_FSYNC) new LostWrites(lost).note(-EIO);
    return handler(sqe, kernel);
  };
  assertEquals(rig.io(FLUSH).result, -EIO);
  rig.stop();
});

Deno.test("FileRequests answer EIO where a file ends too early, and flush all the same", () => {
  using rig = rigOf(2, 16 * CHUNK, { seed: 1 });
  rig.contents[1] = new Uint8Array(CHUNK + 700);
  const io = (op: number) => rig.io({ op, sectors: 64 }).result;
  assertEquals([io(UBLK_IO_OP_READ), io(UBLK_IO_OP_WRITE)], [-EIO, -EIO]);
  assertEquals(rig.io({ op: UBLK_IO_OP_READ, sectors: 24 }).result, 24 * 512);
  assertEquals(rig.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  rig.stop();
});
