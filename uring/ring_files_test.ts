import { assert, assertEquals, assertRejects } from "@std/assert";
import { isMapped } from "../tests/maps.ts";
import { EBADF, EINTR, EINVAL } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { IORING_OP_ASYNC_CANCEL } from "../uapi/io_uring_sqe.ts";
import { fakeRing, type FakeSqe } from "./fake_ring.ts";
import { orphanCount } from "./in_flight.ts";
import { closeFd, openAllOfLibc, openFile, writeText } from "./libc.ts";
import { Mapping, PAGE_BYTES } from "./mapping.ts";
import { openRing } from "./open_ring.ts";
import { PROMISE_RING_SETUP } from "./promise_ring.ts";
import { ringFiles, ringFilesOver } from "./ring_files.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const O_RDONLY = 0;
const O_RDWR = 2;

/** An open file whose bytes are their positions modulo 251. It is closed and removed at the end. */
function fileOf(bytes: number) {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, pattern(0, bytes));
  const fd = openFile(path, O_RDWR);
  return {
    ...{ path, fd },
    [Symbol.dispose]() {
      closeFd(fd);
      Deno.removeSync(path);
    },
  };
}

function pattern(from: number, bytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, at) => (from + at) % 251);
}

/** A FIFO without a writer: reading it waits for ever. */
function fifo() {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/fifo`;
  const { success } = new Deno.Command("mkfifo", { args: [path] }).outputSync();
  assert(success);
  const fd = openFile(path, O_RDWR);
  return {
    fd,
    say: (text: string) => Deno.writeTextFileSync(path, text),
    [Symbol.dispose]() {
      closeFd(fd);
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

function openFds(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

function failure(promise: Promise<unknown>): Promise<UblkError> {
  return assertRejects(() => promise, UblkError);
}

for (const kind of ["an array", "a mapping"]) {
  const make = (bytes: number) =>
    kind === "an array"
      ? new Uint8Array(new ArrayBuffer(bytes + 24), 24, bytes)
      : new Uint8Array(Mapping.anonymous(2 * bytes + 24).buffer(0, bytes + 24), 24);

  Deno.test(`RingFiles + ${kind} + is read from and written to a file`, async () => {
    using file = fileOf(100_000);
    await using files = ringFiles();
    const buffer = make(10_000);
    assertEquals(await files.read(file.fd, buffer, 5000), 10_000);
    assertEquals(buffer, pattern(5000, 10_000));
    assertEquals(await files.write(file.fd, buffer, 60_001), 10_000);
    assertEquals(Deno.readFileSync(file.path).slice(60_001, 70_001), pattern(5000, 10_000));
  });

  Deno.test(`RingFiles + ${kind} + a short read says how much there was`, async () => {
    using file = fileOf(1000);
    await using files = ringFiles();
    const buffer = make(600).fill(0xee);
    assertEquals(await files.read(file.fd, buffer, 700), 300);
    assertEquals(buffer.slice(0, 300), pattern(700, 300));
    // The part of the buffer that was not read is unchanged.
    assertEquals(buffer.slice(300), new Uint8Array(300).fill(0xee));
    assertEquals(await files.read(file.fd, buffer, 1000), 0);
  });

  Deno.test(`RingFiles + ${kind} + 1,000 at once are all done, each with its own bytes`, async () => {
    using file = fileOf(1 << 20);
    await using files = ringFiles();
    const offsets = Array.from({ length: 1000 }, (_, nth) => nth * 997);
    const read = await Promise.all(offsets.map(async (offset) => {
      const buffer = make(512);
      assertEquals(await files.read(file.fd, buffer, offset), 512);
      return buffer.every((byte, at) => byte === (offset + at) % 251);
    }));
    assertEquals(read, Array(1000).fill(true));
  });
}

Deno.test("RingFiles.write + an array that changes afterwards + has written what it was", async () => {
  using file = fileOf(0);
  await using files = ringFiles();
  const buffer = new Uint8Array(5).fill(1);
  const written = files.write(file.fd, buffer, 0);
  buffer.fill(2);
  assertEquals(await written, 5);
  assertEquals(Deno.readFileSync(file.path), new Uint8Array(5).fill(1));
});

Deno.test("RingFiles.read + an array that was transferred away + rejects, and nothing is lost", async () => {
  using pipe = fifo();
  await using files = ringFiles();
  const buffer = new Uint8Array(16);
  const read = files.read(pipe.fd, buffer, 0);
  await turn();
  structuredClone(buffer, { transfer: [buffer.buffer] });
  pipe.say("hello");
  await assertRejects(() => read, Error);
});

Deno.test("RingFiles + more completions at once than the ring has room for + none is left behind", async () => {
  using pipe = fifo();
  await using files = ringFilesOver(() => {
    return openRing({ entries: 4, setupFlags: PROMISE_RING_SETUP }).ring;
  });
  const reads = Array.from({ length: 100 }, () => files.read(pipe.fd, new Uint8Array(1), 0));
  await turn();
  // All of them are complete when this returns, and eight have found room.
  writeText(pipe.fd, "x".repeat(100));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<number[]>((resolve) => timer = setTimeout(resolve, 60_000, []));
  assertEquals(await Promise.race([Promise.all(reads), late]), Array(100).fill(1));
  clearTimeout(timer);
});

Deno.test("RingFiles.fsync + whole, and data only + resolves", async () => {
  using file = fileOf(10);
  await using files = ringFiles();
  assertEquals(await files.fsync(file.fd), undefined);
  assertEquals(await files.fsync(file.fd, { dataOnly: true }), undefined);
});

Deno.test("RingFiles.fallocate + punch + leaves zeroes, and its size", async () => {
  using file = fileOf(3 * PAGE_BYTES);
  await using files = ringFiles();
  const KEEP_SIZE = 1, PUNCH_HOLE = 2;
  await files.fallocate(file.fd, KEEP_SIZE | PUNCH_HOLE, PAGE_BYTES, PAGE_BYTES);
  const bytes = Deno.readFileSync(file.path);
  assertEquals(bytes.length, 3 * PAGE_BYTES);
  assert(bytes.slice(PAGE_BYTES, 2 * PAGE_BYTES).every((byte) => byte === 0));
  await files.fallocate(file.fd, 0, 0, 5 * PAGE_BYTES);
  assertEquals(Deno.statSync(file.path).size, 5 * PAGE_BYTES);
});

Deno.test("RingFiles + a descriptor that refuses + rejects with the errno, naming the operation", async () => {
  using file = fileOf(10);
  const readOnly = openFile(file.path, O_RDONLY);
  await using files = ringFiles();
  const error = await failure(files.write(readOnly, new Uint8Array(4), 0));
  closeFd(readOnly);
  assertEquals([error.code, error.errno], ["SYSCALL_FAILED", EBADF]);
  assertEquals(error.message, `write to descriptor ${readOnly}: failed with EBADF`);
  const flags = await failure(files.fallocate(file.fd, 0, 0, 0));
  assertEquals([flags.code, flags.errno], ["SYSCALL_FAILED", EINVAL]);
});

Deno.test("RingFiles + what cannot be meant + is refused", async () => {
  await using files = ringFiles();
  const buffer = new Uint8Array(4);
  for (
    const call of [
      () => files.read(-1, buffer, 0),
      () => files.read(0.5, buffer, 0),
      () => files.read(2 ** 31, buffer, 0),
      () => files.read(0, buffer, -1),
      () => files.write(0, buffer, 2 ** 53),
      () => files.write(0, buffer, NaN),
      () => files.fsync(-1),
      () => files.fallocate(0, -1, 0, 1),
      () => files.fallocate(0, 0, -1, 1),
      () => files.fallocate(0, 0, 0, -1),
    ]
  ) assertEquals((await failure(call())).code, "INVALID_ARGUMENT", `${call}`);
});

Deno.test("RingFiles.read + a signal + ends a read that would wait for ever", async () => {
  using pipe = fifo();
  await using files = ringFiles();
  const controller = new AbortController();
  const buffer = new Uint8Array(16);
  const read = files.read(pipe.fd, buffer, 0, { signal: controller.signal });
  const other = files.read(pipe.fd, new Uint8Array(16), 0);
  await turn();
  controller.abort("enough");
  const error = await failure(read);
  assertEquals([error.code, error.cause], ["ABORTED", "enough"]);
  // The other operation continues.
  pipe.say("hello");
  assertEquals(await other, 5);
});

Deno.test("RingFiles + an operation that was interrupted + is done again", async () => {
  const seen: FakeSqe[] = [];
  const { ring } = fakeRing({
    entries: 8,
    handler(sqe, kernel) {
      seen.push(sqe);
      kernel.complete(sqe.userData, sqe.kind, seen.length < 3 ? -EINTR : 0);
    },
  });
  await using files = ringFilesOver(() => ring);
  await files.fallocate(7, 3, 4096, 8192);
  assertEquals(seen.length, 3);
  assertEquals(seen[2].words.slice(0, 8), seen[0].words.slice(0, 8));
});

Deno.test("RingFiles + closed + ends what is under way, and takes nothing more", async () => {
  const before = openFds();
  const orphans = orphanCount();
  {
    using pipe = fifo();
    const files = ringFiles();
    const mappings: Mapping[] = [];
    const reads = Array.from({ length: 400 }, (_, nth) => {
      if (nth % 2 === 0) return failure(files.read(pipe.fd, new Uint8Array(16), 0));
      const mapping = Mapping.anonymous(PAGE_BYTES);
      mappings.push(mapping);
      const read = failure(files.read(pipe.fd, new Uint8Array(mapping.buffer()), 0));
      // The owner releases it too early, which must do no harm.
      mapping[Symbol.dispose]();
      return read;
    });
    await turn();
    assertEquals(mappings.filter(({ address }) => isMapped(address)).length, mappings.length);
    await files[Symbol.asyncDispose]();
    const codes = (await Promise.all(reads)).map(({ code }) => code);
    assertEquals(codes, Array(400).fill("ABORTED"));
    assertEquals(mappings.filter(({ address }) => isMapped(address)), []);
    const late = await failure(files.read(pipe.fd, new Uint8Array(1), 0));
    assertEquals(late.message, `read from descriptor ${pipe.fd}: the ring was closed`);
    // A second disposal does nothing.
    await files[Symbol.asyncDispose]();
  }
  assertEquals([openFds(), orphanCount()], [before, orphans]);
});

// The kernel may write to it at any time, and would overwrite the next mapping at that address.
Deno.test("RingFiles + closed + memory that the kernel does not let go of stays mapped", async () => {
  const { ring } = fakeRing({
    entries: 8,
    handler(sqe, kernel) {
      if (sqe.opcode === IORING_OP_ASYNC_CANCEL) kernel.complete(sqe.userData, sqe.kind, 0);
    },
  });
  const files = ringFilesOver(() => ring);
  const mapping = Mapping.anonymous(PAGE_BYTES);
  let isSettled = false;
  files.read(0, new Uint8Array(mapping.buffer()), 0).finally(() => isSettled = true);
  mapping[Symbol.dispose]();
  await files[Symbol.asyncDispose]();
  await turn();
  assertEquals([isSettled, isMapped(mapping.address)], [false, true]);
});

Deno.test("RingFiles + closed + the memory that stood in for arrays is unmapped", async () => {
  let address = 0;
  const { ring } = fakeRing({
    entries: 8,
    handler({ userData, kind, words }, kernel) {
      address = words[4] + words[5] * 2 ** 32;
      kernel.complete(userData, kind, 1);
    },
  });
  const files = ringFilesOver(() => ring);
  assertEquals(await files.read(0, new Uint8Array(1), 0), 1);
  // It is kept for the next read.
  assertEquals(isMapped(address), true);
  await files[Symbol.asyncDispose]();
  assertEquals(isMapped(address), false);
});

Deno.test("RingFiles + nothing done + has opened nothing", async () => {
  const before = openFds();
  await using _ = ringFiles();
  assertEquals(openFds(), before);
});

Deno.test("RingFiles + no ring to be had + rejects, and tries again with the next", async () => {
  let tries = 0;
  await using files = ringFilesOver(() => {
    if (tries++ === 0) throw new UblkError("MEMORY_LIMIT", { operation: "io_uring_setup" });
    return fakeRing({ entries: 8 }).ring;
  });
  assertEquals((await failure(files.fsync(0))).code, "MEMORY_LIMIT");
  await files.fsync(0);
});

Deno.test("RingFiles + idle + keeps no process alive", async () => {
  const module = import.meta.resolve("./ring_files.ts");
  const script = `
    import { ringFiles } from "${module}";
    console.log(await ringFiles().read(0, new Uint8Array(10), 0));
  `;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", script],
    cwd: new URL("..", import.meta.url),
    signal: AbortSignal.timeout(20_000),
    stdin: "null",
    stderr: "inherit",
  });
  const { success, stdout } = await command.output();
  assertEquals(new TextDecoder().decode(stdout), "0\n");
  assert(success);
});
