import { assert, assertEquals } from "@std/assert";
import { KIND_BACKEND } from "../queue/slots.ts";
import { DiskModel } from "../tests/disk_model.ts";
import { QueueRig } from "../tests/queue_rig.ts";
import { EDQUOT, EINTR, EIO, ENOSPC, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_READ,
  IORING_OP_WRITE,
} from "../uapi/io_uring_sqe.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import type { FakeSqe } from "../uring/fake_sqe.ts";
import { bufferAt } from "../uring/mapping.ts";
import type { Backend } from "../disk/backend.ts";
import { FileRequests } from "./file_requests.ts";
import { StripeLayout } from "./stripe_layout.ts";
import { servedByRing } from "../disk/unused.ts";
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

/** A serving thread whose backend has files in memory, behind a ring with faults. */
function rigOf(files: number, bytesEach: number, manner: Manner) {
  const contents = Array.from({ length: files }, () => new Uint8Array(bytesEach));
  const dice = new Dice(manner.seed);
  const fds = contents.map((_, index) => FIRST_FD + index);
  const layout = new StripeLayout(files, CHUNK);
  const backend: Backend = {
    size: files * bytesEach,
    ...servedByRing({ flush: true, trim: true }),
    ring: new FileRequests({ fds, layout, direct: false }),
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
        for (const { result } of requests) {
          if (result! >= 0) continue;
          failed++;
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

Deno.test("FileRequests answer EIO where a file ends too early, and flush all the same", () => {
  using rig = rigOf(2, 16 * CHUNK, { seed: 1 });
  rig.contents[1] = new Uint8Array(CHUNK + 700);
  const io = (op: number) => rig.io({ op, sectors: 64 }).result;
  assertEquals([io(UBLK_IO_OP_READ), io(UBLK_IO_OP_WRITE)], [-EIO, -EIO]);
  assertEquals(rig.io({ op: UBLK_IO_OP_READ, sectors: 24 }).result, 24 * 512);
  assertEquals(rig.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  rig.stop();
});
