import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { EBADF, ECANCELED, EINVAL, EOPNOTSUPP } from "../uapi/errno.ts";
import { AssertionError } from "../uapi/error.ts";
import {
  IORING_OP_READ,
  IOSQE_CQE_SKIP_SUCCESS,
  IOSQE_IO_HARDLINK,
  IOSQE_IO_LINK,
} from "../uapi/io_uring_sqe.ts";
import { type FakeHandler, fakeRing } from "./fake_ring.ts";
import { closeFd, openAllOfLibc, openFile } from "./libc.ts";
import { Mapping, PAGE_BYTES } from "./mapping.ts";
import { openRing } from "./open_ring.ts";
import type { Ring } from "./ring.ts";
import {
  prepare,
  prepCancel,
  prepFallocate,
  prepFsync,
  prepNop,
  prepRead,
  prepTimeout,
  prepUringCmd,
  prepWrite,
  put64,
  setSqeFlags,
} from "./sqe.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const O_RDWR = 2;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/** Submits the prepared SQEs and returns the results by user data. */
function run(ring: Ring): number[] {
  const results: number[] = [];
  let missing = ring.pending;
  while (missing > 0) {
    ring.enter(missing);
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      results[ring.cqes[at]] = ring.cqes[at + 2];
      ring.seen();
      missing--;
    }
  }
  return results;
}

/** A ring, a file, and memory. */
async function withFile(
  body: (ring: Ring, fd: number, memory: Mapping, path: string) => void | Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempFile();
  const fd = openFile(path, O_RDWR);
  try {
    using ring = openRing({ entries: 16 }).ring;
    using memory = Mapping.anonymous(16 * PAGE_BYTES);
    await body(ring, fd, memory, path);
  } finally {
    closeFd(fd);
    await Deno.remove(path);
  }
}

Deno.test("prepWrite and prepRead move bytes at offsets beyond 4 GiB", () =>
  withFile((ring, fd, memory, path) => {
    const offset = 5 * 2 ** 30 + 512;
    const bytes = new Uint8Array(memory.buffer());
    bytes.fill(7, 0, PAGE_BYTES);
    assertEquals(prepWrite(ring, fd, memory.address, PAGE_BYTES, offset, 0, 0) >= 0, true);
    assertEquals(run(ring), [PAGE_BYTES]);
    assertEquals(Deno.statSync(path).size, offset + PAGE_BYTES);
    prepRead(ring, fd, memory.address + PAGE_BYTES, PAGE_BYTES, offset, 0, 0);
    // One read that crosses the end of the file, so it is short; and one beyond the end.
    prepRead(ring, fd, memory.address + 3 * PAGE_BYTES, 8192, offset + 4000, 1, 0);
    prepRead(ring, fd, memory.address + 5 * PAGE_BYTES, 512, offset + 2 ** 32, 2, 0);
    assertEquals(run(ring), [PAGE_BYTES, 96, 0]);
    assertEquals(bytes.subarray(PAGE_BYTES, 2 * PAGE_BYTES), bytes.subarray(0, PAGE_BYTES));
    assertEquals(bytes[2 * PAGE_BYTES], 0);
  }));

Deno.test("prepFsync takes a whole file and its data only, and refuses what cannot", () =>
  withFile((ring, fd) => {
    prepFsync(ring, fd, false, 0, 0);
    prepFsync(ring, fd, true, 1, 0);
    prepFsync(ring, -1, true, 2, 0);
    assertEquals(run(ring), [0, 0, -EBADF]);
  }));

Deno.test("prepFallocate allocates, and punches a hole of the length and place given", () =>
  withFile(async (ring, fd, memory, path) => {
    prepFallocate(ring, fd, 0, 0, 4 * PAGE_BYTES, 0, 0);
    const [allocated] = run(ring);
    assertEquals(allocated, 0);
    assertEquals(Deno.statSync(path).size, 4 * PAGE_BYTES);
    new Uint8Array(memory.buffer()).fill(9);
    prepWrite(ring, fd, memory.address, 4 * PAGE_BYTES, 0, 0, 0);
    assertEquals(run(ring), [4 * PAGE_BYTES]);
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    prepFallocate(ring, fd, mode, PAGE_BYTES, 2 * PAGE_BYTES, 0, 0);
    const [punched] = run(ring);
    // Some filesystems do not support this.
    if (punched === -EOPNOTSUPP) return;
    assertEquals(punched, 0);
    const bytes = await Deno.readFile(path);
    const at = [0, PAGE_BYTES - 1, PAGE_BYTES, 3 * PAGE_BYTES - 1, 3 * PAGE_BYTES];
    assertEquals(at.map((index) => bytes[index]), [9, 9, 0, 0, 9]);
    prepFallocate(ring, fd, 0, 0, 0, 0, 0);
    assertEquals(run(ring), [-EINVAL]);
  }));

Deno.test("setSqeFlags links requests: each starts when the one before it has succeeded", () =>
  withFile((ring, fd, memory) => {
    const bytes = new Uint8Array(memory.buffer());
    bytes.fill(5, 0, 512);
    setSqeFlags(ring, prepWrite(ring, fd, memory.address, 512, 0, 0, 0), IOSQE_IO_LINK);
    setSqeFlags(ring, prepFsync(ring, fd, true, 1, 0), IOSQE_IO_LINK);
    prepRead(ring, fd, memory.address + PAGE_BYTES, 512, 0, 2, 0);
    assertEquals(run(ring), [512, 0, 512]);
    assertEquals(bytes[PAGE_BYTES + 511], 5);
  }));

Deno.test("setSqeFlags links requests: a failure or a short read cancels the rest of its chain", () =>
  withFile((ring, fd, memory) => {
    setSqeFlags(ring, prepRead(ring, -1, memory.address, 512, 0, 0, 0), IOSQE_IO_LINK);
    setSqeFlags(ring, prepNop(ring, 1, 0), IOSQE_IO_LINK);
    prepNop(ring, 2, 0);
    prepNop(ring, 3, 0);
    assertEquals(run(ring), [-EBADF, -ECANCELED, -ECANCELED, 0]);
    // The file is empty: 0 of 512 bytes is not an error, but breaks the chain.
    setSqeFlags(ring, prepRead(ring, fd, memory.address, 512, 0, 0, 0), IOSQE_IO_LINK);
    prepNop(ring, 1, 0);
    assertEquals(run(ring), [0, -ECANCELED]);
  }));

// The fake ring does the same. The zero-copy data path depends on it.
for (const kind of ["kernel", "fake"]) {
  Deno.test(`setSqeFlags: a silent SQE that fails silences its whole chain, but no hard one (${kind})`, () => {
    using memory = Mapping.anonymous(PAGE_BYTES);
    const handler: FakeHandler = ({ opcode, userData, kind }, kernel) =>
      kernel.complete(userData, kind, opcode === IORING_OP_READ ? -EBADF : 0);
    const real = kind === "kernel";
    using ring = real ? openRing({ entries: 8 }).ring : fakeRing({ entries: 8, handler }).ring;
    const chain = (link: number): [number, number][] => {
      const at = prepRead(ring, -1, memory.address, 512, 0, 0, 0);
      setSqeFlags(ring, at, link | IOSQE_CQE_SKIP_SUCCESS);
      setSqeFlags(ring, prepNop(ring, 1, 0), IOSQE_IO_HARDLINK);
      prepNop(ring, 2, 0);
      prepNop(ring, 3, 0);
      ring.enter(2);
      ring.enterTimeout(5, 20_000);
      const got: [number, number][] = [];
      for (let cqe = ring.peek(); cqe >= 0; cqe = ring.peek()) {
        got.push([ring.cqes[cqe], ring.cqes[cqe + 2]]);
        ring.seen();
      }
      return got.sort(([first], [second]) => first - second);
    };
    assertEquals(chain(IOSQE_IO_LINK), [[0, -EBADF], [3, 0]]);
    assertEquals(chain(IOSQE_IO_HARDLINK), [[0, -EBADF], [1, 0], [2, 0], [3, 0]]);
  });
}

Deno.test("put64 splits a number into two words, exactly up to 2^53", () => {
  const words = new Uint32Array(4);
  for (const value of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 47 - 4096, 2 ** 53 - 1]) {
    put64(words, 1, value);
    assertEquals(words[1] + words[2] * 2 ** 32, value);
  }
  assertEquals([words[0], words[3]], [0, 0]);
});

const PREPS: Readonly<Record<string, (ring: Ring) => number>> = {
  prepNop: (ring) => prepNop(ring, 1, 2),
  prepRead: (ring) => prepRead(ring, 3, 4096, 5, 6, 1, 2),
  prepReadFixed: (ring) => prepRead(ring, 3, 4096, 5, 6, 1, 2, 0),
  prepWrite: (ring) => prepWrite(ring, 3, 4096, 5, 6, 1, 2),
  prepFsync: (ring) => prepFsync(ring, 3, true, 1, 2),
  prepFallocate: (ring) => prepFallocate(ring, 3, 1, 4096, 512, 1, 2),
  prepTimeout: (ring) => prepTimeout(ring, 4096, 0, 1, 2),
  prepCancel: (ring) => prepCancel(ring, 7, 8, 1, 2),
  prepUringCmd: (ring) => prepUringCmd(ring, 3, 0xc0107520, 1, 2),
  prepare: (ring) => prepare(ring, 0, 3, 1, 2),
};

for (const [name, prep] of Object.entries(PREPS)) {
  Deno.test(`${name} clears what the SQE's last user left there, and returns -1 when it is full`, () => {
    for (const sqe128 of [false, true]) {
      // The SQEs of a fake ring are initially filled with garbage.
      const fromGarbage = fakeRing({ entries: 1, sqe128 }).ring;
      const fromZero = fakeRing({ entries: 1, sqe128 }).ring;
      fromZero.sqes.fill(0);
      assertNotEquals(fromGarbage.sqes, fromZero.sqes);
      assertEquals([prep(fromGarbage), prep(fromZero)], [0, 0]);
      assertEquals(fromGarbage.sqes, fromZero.sqes);
      assertEquals([fromZero.sqes[8], fromZero.sqes[9]], [1, 2]);
      assertEquals(prep(fromZero), -1);
    }
  });
}

Deno.test("setSqeFlags + a flag beyond its byte + an assertion fails", () => {
  const { ring } = fakeRing({ entries: 4 });
  const at = prepNop(ring, 1, 1);
  assertThrows(() => setSqeFlags(ring, at, 0x100), AssertionError, "fit their byte");
});
