import { assert, assertEquals, assertThrows } from "@std/assert";
import { EINVAL, ENOBUFS } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { IORING_REGISTER_PBUF_RING, IOU_PBUF_RING_INC } from "../uapi/io_uring_register.ts";
import { IORING_CQE_F_BUF_MORE, IORING_CQE_F_MORE } from "../uapi/io_uring_cqe.ts";
import { IORING_OP_READ_MULTISHOT, IOSQE_BUFFER_SELECT } from "../uapi/io_uring_sqe.ts";
import { BufferRing } from "./buffer_ring.ts";
import { fakeRing } from "./fake_ring.ts";
import { closeFd, openAllOfLibc, openFile } from "./libc.ts";
import { bufferAt, PAGE_BYTES } from "./mapping.ts";
import { openRing } from "./open_ring.ts";
import { probeOpcodes } from "./register.ts";
import type { Ring } from "./ring.ts";
import { prepare } from "./sqe.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const TWO_32 = 0x1_0000_0000;
const O_RDWR = 2;
const O_NONBLOCK = 0x800;

Deno.test("BufferRing registers one buffer that is consumed little by little, and provides it anew", () => {
  const { ring, kernel } = fakeRing({ entries: 2 });
  let words: Uint32Array | undefined;
  let seen: [number, number] | undefined;
  kernel.onRegister = (opcode, argument, count) => {
    words = new Uint32Array(argument!.slice().buffer);
    seen = [opcode, count];
    return 0;
  };
  using buffers = new BufferRing(ring, 5, 2 * PAGE_BYTES);
  assertEquals(seen, [IORING_REGISTER_PBUF_RING, 1]);
  assertEquals([...words!.subarray(2)], [1, 5 | (IOU_PBUF_RING_INC << 16), 0, 0, 0, 0, 0, 0]);
  const entry = new Uint32Array(bufferAt(words![0] + words![1] * TWO_32, 16));
  assertEquals([...entry], [0, 0, 0, 0]);
  // The tail is 16 bits wide and wraps around. The buffer id beside it stays 0.
  for (let time = 1; time <= 65_537; time++) {
    buffers.provide();
    if (entry[3] !== (time & 0xffff) << 16 >>> 0) assertEquals(entry[3], (time & 0xffff) << 16);
  }
  assertEquals(entry[2], 2 * PAGE_BYTES);
  const view = new Uint8Array(bufferAt(entry[0] + entry[1] * TWO_32, 8));
  view.fill(7);
  assertEquals(new Uint8Array(buffers.buffer)[0], 7);
  assertEquals(buffers.buffer.byteLength, 2 * PAGE_BYTES);
});

Deno.test("BufferRing tells the errno with which the kernel refuses it", () => {
  const { ring, kernel } = fakeRing({ entries: 2 });
  kernel.onRegister = () => -EINVAL;
  const error = assertThrows(() => new BufferRing(ring, 0, PAGE_BYTES), UblkError);
  assertEquals(error.errno, EINVAL);
});

/** The reason why this kernel cannot run the tests below; undefined if it can. */
function lacks(): string | undefined {
  using ring = openRing({ entries: 8 }).ring;
  if (!probeOpcodes(ring).has(IORING_OP_READ_MULTISHOT)) return "READ_MULTISHOT (Linux 6.7)";
  try {
    using _ = new BufferRing(ring, 0, PAGE_BYTES);
  } catch (error) {
    if ((error as UblkError).errno === EINVAL) return "IOU_PBUF_RING_INC (Linux 6.12)";
    throw error;
  }
}
const lacking = lacks();
const suffix = lacking === undefined ? "" : ` (ignored: this kernel lacks ${lacking})`;

/** A READ_MULTISHOT on a pipe, which stands in for a FETCH on a ublk device. */
function setUp(bytes: number) {
  const stack = new DisposableStack();
  const folder = Deno.makeTempDirSync();
  stack.defer(() => Deno.removeSync(folder, { recursive: true }));
  const path = `${folder}/pipe`;
  assert(new Deno.Command("mkfifo", { args: [path] }).outputSync().success);
  const fd = openFile(path, O_RDWR | O_NONBLOCK);
  stack.defer(() => closeFd(fd));
  const ringFirst = stack.use(new DisposableStack());
  const { ring } = openRing({ entries: 8 });
  const buffers = ringFirst.use(new BufferRing(ring, 3, bytes));
  stack.use(ring);
  const read = () => {
    buffers.provide();
    const at = prepare(ring, IORING_OP_READ_MULTISHOT, fd, 1, 0);
    ring.sqes[at] |= IOSQE_BUFFER_SELECT << 8;
    ring.sqes[at + 2] = ring.sqes[at + 3] = 0xffffffff;
    ring.sqes[at + 10] = 3;
    ring.enter(0);
  };
  const write = (data: Uint8Array<ArrayBuffer>) => {
    Deno.writeFileSync(path, data);
    ring.enterTimeout(1, 1e6);
  };
  return { ring, buffers, read, write, [Symbol.dispose]: () => stack.dispose() };
}

/** [result, whether more follow] of each completion. */
function completions(ring: Ring): [number, boolean][] {
  const got: [number, boolean][] = [];
  for (let at = ring.peek(); at >= 0; at = ring.peek()) {
    got.push([ring.cqes[at + 2], (ring.cqes[at + 3] & IORING_CQE_F_MORE) !== 0]);
    if ((ring.cqes[at + 3] & IORING_CQE_F_BUF_MORE) !== 0) {
      assertEquals(ring.cqes[at + 3] >>> 16, 0);
    }
    ring.seen();
  }
  return got;
}

Deno.test({
  name: `BufferRing has the kernel put one completion's bytes behind the other's${suffix}`,
  ignore: lacking !== undefined,
  fn() {
    using it = setUp(PAGE_BYTES);
    it.read();
    const bytes = new Uint8Array(it.buffers.buffer);
    let used = 0;
    for (const length of [6, 100, 2]) {
      it.write(new Uint8Array(length).fill(length));
      assertEquals(completions(it.ring), [[length, true]]);
      assertEquals(bytes.subarray(used, used + length), new Uint8Array(length).fill(length));
      used += length;
    }
    assertEquals(bytes[used], 0);
  },
});

Deno.test({
  name:
    `BufferRing ends a multishot command once it is full, and serves the next from its start${suffix}`,
  ignore: lacking !== undefined,
  fn() {
    using it = setUp(PAGE_BYTES);
    const bytes = new Uint8Array(it.buffers.buffer);
    const got: [number, boolean][] = [];
    const write = (length: number, byte: number) => {
      it.write(new Uint8Array(length).fill(byte));
      got.push(...completions(it.ring));
    };
    it.read();
    write(4, 9);
    for (let round = 1; round <= 5; round++) {
      write(PAGE_BYTES - 14, round);
      write(10, 100 + round);
      assertEquals(got.map(([result]) => result), [4, PAGE_BYTES - 14, 10]);
      assertEquals([bytes[0], bytes[4], bytes[PAGE_BYTES - 1]], [9, round, 100 + round]);
      // The command ends with the last byte, or with the first byte that does not fit.
      write(4, 9);
      assertEquals(got[3] ?? [-ENOBUFS, false], [-ENOBUFS, false]);
      got.length = 0;
      // The bytes that did not fit are still in the pipe. The next command reads them.
      it.read();
      it.ring.enterTimeout(1, 1e6);
      got.push(...completions(it.ring));
    }
    assertEquals(got, [[4, true]]);
  },
});
