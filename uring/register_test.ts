import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { runChild } from "../tests/seccomp.ts";
import { EBADF, EFAULT, EINVAL, ENOMEM, ENXIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  IORING_OP_NOP,
  IORING_OP_READ_FIXED,
  IORING_OP_URING_CMD,
  IOSQE_FIXED_FILE,
} from "../uapi/io_uring_sqe.ts";
import { fakeRing } from "./fake_ring.ts";
import { closeFd, eventFd, openAllOfLibc, openFile } from "./libc.ts";
import { Mapping, PAGE_BYTES } from "./mapping.ts";
import { openRing } from "./open_ring.ts";
import { PolledFd } from "./poller.ts";
import {
  probeOpcodes,
  registerBuffers,
  registerEventFd,
  registerFiles,
  registerSparseBuffers,
  unregisterBuffers,
  unregisterFiles,
} from "./register.ts";
import type { Ring } from "./ring.ts";
import { prepNop, prepRead, prepWrite, setSqeFlags } from "./sqe.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const O_RDWR = 2;

/** Submits the prepared SQE and returns its result. */
function result(ring: Ring): number {
  ring.enter(1);
  const at = ring.peek();
  assert(at >= 0);
  ring.seen();
  return ring.cqes[at + 2];
}

Deno.test("registerFiles lets an SQE name a descriptor by index, until unregisterFiles", async () => {
  const path = await Deno.makeTempFile();
  const fd = openFile(path, O_RDWR);
  using ring = openRing({ entries: 8 }).ring;
  using memory = Mapping.anonymous(PAGE_BYTES);
  new Uint8Array(memory.buffer()).fill(6);
  const write = (index: number) => {
    setSqeFlags(ring, prepWrite(ring, index, memory.address, 512, 0, 0, 0), IOSQE_FIXED_FILE);
    return result(ring);
  };
  registerFiles(ring, [-1, fd]);
  // The registration alone keeps the file open.
  closeFd(fd);
  assertEquals([write(1), write(0), write(2)], [512, -EBADF, -EBADF]);
  unregisterFiles(ring);
  assertEquals(write(1), -EBADF);
  assertEquals(await Deno.readFile(path), new Uint8Array(512).fill(6));
  await Deno.remove(path);
});

Deno.test("registerFiles throws on a descriptor that is not open, and a second time", () => {
  using ring = openRing({ entries: 8 }).ring;
  const error = assertThrows(() => registerFiles(ring, [9999]), UblkError, "register files");
  assertEquals(error.errno, EBADF);
  assertEquals(assertThrows(() => unregisterFiles(ring), UblkError).errno, ENXIO);
});

Deno.test("registerBuffers serves READ_FIXED and WRITE_FIXED within each buffer's bounds", async () => {
  const path = await Deno.makeTempFile();
  const fd = openFile(path, O_RDWR);
  try {
    using ring = openRing({ entries: 8 }).ring;
    using memory = Mapping.anonymous(3 * PAGE_BYTES);
    const { address } = memory;
    const bytes = new Uint8Array(memory.buffer());
    registerBuffers(ring, [
      { address, bytes: PAGE_BYTES },
      { address: address + PAGE_BYTES, bytes: PAGE_BYTES },
    ]);
    bytes.fill(4, 0, PAGE_BYTES);
    prepWrite(ring, fd, address, PAGE_BYTES, 0, 0, 0, 0);
    assertEquals(result(ring), PAGE_BYTES);
    prepRead(ring, fd, address + PAGE_BYTES + 512, 1024, 0, 0, 0, 1);
    assertEquals(result(ring), 1024);
    const at = [PAGE_BYTES + 511, PAGE_BYTES + 512, PAGE_BYTES + 1535, PAGE_BYTES + 1536];
    assertEquals(at.map((index) => bytes[index]), [0, 4, 4, 0]);
    // The memory of another buffer, and a buffer that does not exist.
    prepRead(ring, fd, address + PAGE_BYTES, 512, 0, 0, 0, 0);
    assertEquals(result(ring), -EFAULT);
    prepRead(ring, fd, address, 512, 0, 0, 0, 2);
    assertEquals(result(ring), -EFAULT);
    unregisterBuffers(ring);
    prepRead(ring, fd, address, 512, 0, 0, 0, 0);
    assertEquals(result(ring), -EFAULT);
  } finally {
    closeFd(fd);
    await Deno.remove(path);
  }
});

Deno.test("registerEventFd signals when there are completions to read", async () => {
  using ring = openRing({ entries: 8 }).ring;
  const fd = eventFd();
  try {
    registerEventFd(ring, fd);
    await using signals = new PolledFd(fd);
    const waiting = signals.wait();
    prepNop(ring, 5, 0);
    ring.enter(0);
    await waiting;
    assertEquals(ring.cqes[ring.peek()], 5);
  } finally {
    closeFd(fd);
  }
});

Deno.test("probeOpcodes knows the operations that the kernel supports, and no others", () => {
  using ring = openRing({ entries: 8 }).ring;
  const supported = probeOpcodes(ring);
  for (const opcode of [IORING_OP_NOP, IORING_OP_READ_FIXED, IORING_OP_URING_CMD]) {
    assert(supported.has(opcode), `operation ${opcode}`);
  }
  assertEquals(supported.has(255), false);
});

Deno.test("probeOpcodes is empty on a kernel without the probe, and throws on any other failure", () => {
  const { ring, kernel } = fakeRing({ entries: 4 });
  kernel.onRegister = () => -EINVAL;
  assertEquals(probeOpcodes(ring), new Set());
  kernel.onRegister = () => -EFAULT;
  assertThrows(() => probeOpcodes(ring), UblkError, "EFAULT");
});

Deno.test("registerBuffers says MEMORY_LIMIT on ENOMEM, with the remedy", () => {
  const { ring, kernel } = fakeRing({ entries: 4 });
  kernel.onRegister = () => -ENOMEM;
  const error = assertThrows(() => registerBuffers(ring, [{ address: 4096, bytes: 4096 }]));
  assert(error instanceof UblkError);
  assertEquals([error.code, error.errno], ["MEMORY_LIMIT", ENOMEM]);
  assertStringIncludes(error.message, "ulimit -l");
});

Deno.test("registerBuffers says MEMORY_LIMIT where RLIMIT_MEMLOCK is really too small", async () => {
  const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
  const source = `
    import { openRing } from ${url("./open_ring.ts")};
    import { registerBuffers } from ${url("./register.ts")};
    import { Mapping } from ${url("./mapping.ts")};
    const { ring } = openRing({ entries: 8 });
    const memory = Mapping.anonymous(1 << 20);
    try {
      registerBuffers(ring, [{ address: memory.address, bytes: memory.bytes }]);
      console.log("it worked");
    } catch (error) {
      console.log(error.code, error.errno);
    }`;
  // Root may lock any amount of memory, so drop that right first.
  const giveUp = Deno.uid() === 0 ? "exec setpriv --bounding-set=-ipc_lock" : "exec";
  const wrap = ["sh", "-c", `ulimit -l 64 && ${giveUp} "$@"`, "sh"];
  const { stdout, stderr } = await runChild(source, wrap);
  assertEquals(stdout, `MEMORY_LIMIT ${ENOMEM}\n`, stderr);
});

Deno.test("runChild reports a program that cannot start", async () => {
  await assertRejects(() => runChild("", ["/no/such/program"]), Deno.errors.NotFound);
});

Deno.test("registerSparseBuffers makes a table in which no buffer is there yet, and only one", () => {
  using ring = openRing({ entries: 8 }).ring;
  using memory = Mapping.anonymous(PAGE_BYTES);
  registerSparseBuffers(ring, 3);
  for (const index of [0, 2, 3]) {
    prepRead(ring, 0, memory.address, 512, 0, 0, 0, index);
    assertEquals(result(ring), -EFAULT);
  }
  assertThrows(() => registerSparseBuffers(ring, 3), UblkError, "EBUSY");
  unregisterBuffers(ring);
  registerSparseBuffers(ring, 1);
});
