import { assert, assertEquals, assertThrows } from "@std/assert";
import { checkBackendConformance } from "../testing.ts";
import { allocatedBytes, Scratch } from "../tests/scratch.ts";
import { OpenedDisk } from "../disk/opened.ts";
import { fill, readBytes } from "../tests/stack.ts";
import { UblkError } from "../uapi/error.ts";
import { O_RDWR } from "../uring/file.ts";
import { closeFd, openAllOfLibc, openFile } from "../uring/libc.ts";
import { byteMethods } from "./file_bytes.ts";
import { FileRequests } from "./file_requests.ts";
import { file } from "./loop.ts";
import { LostWrites } from "./lost_writes.ts";
import { stripe } from "./stripe.ts";
import { StripeLayout } from "./stripe_layout.ts";

// Opened once for the process, so that the sanitizer reports no leak.
openAllOfLibc();

const MIB = 1 << 20;
const isRoot = Deno.uid() === 0;

Deno.test("file's bytes are where the ring's are, past the page cache too", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", 4 * MIB);
  for (const direct of [false, true]) {
    await using stack = await OpenedDisk.open(file(path, { direct, blockSize: 4096 }));
    // Larger than the aligned memory, and at an unaligned address.
    const bytes = new Uint8Array(MIB + 1).subarray(1).map((_, index) => index >> 12);
    await stack.backend.writeAt(bytes, 8192, { fua: direct });
    const back = new Uint8Array(MIB + 3).subarray(3);
    await stack.backend.readAt(back, 8192);
    assertEquals(back, bytes);
    assertEquals(Deno.readFileSync(path).subarray(8192, 8192 + MIB), bytes);
  }
});

Deno.test("stripe's bytes are spread over its files", async () => {
  using scratch = new Scratch();
  const paths = ["a", "b"].map((name) => scratch.file(name, MIB));
  await using stack = await OpenedDisk.open(stripe(paths, { chunkSize: 4096 }));
  await stack.backend.writeAt(
    new Uint8Array(4 * 4096).map((_, index) => 1 + (index >> 12)),
    0,
    { fua: false },
  );
  const [a, b] = paths.map((path) => Deno.readFileSync(path));
  assertEquals([a[0], b[0], a[4096], b[4096]], [1, 2, 3, 4]);
  await stack.backend.trim!(4096, 8192);
  const [c, d] = paths.map((path) => Deno.readFileSync(path));
  assertEquals([c[0], d[0], c[4096], d[4096]], [1, 0, 0, 4]);
});

Deno.test("file's trim gives space back, and so do zeroes unless they must keep it", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  await using stack = await OpenedDisk.open(file(path));
  const { backend } = stack;
  const ways: [() => unknown, boolean][] = [
    [() => backend.trim!(0, 65536), false],
    [() => backend.writeZeroes!(0, 65536, { mayUnmap: true }), false],
    [() => backend.writeZeroes!(0, 65536, { mayUnmap: false }), true],
  ];
  for (const [forget, keeps] of ways) {
    await fill(backend, 1, 0, 65536);
    await backend.flush!();
    await forget();
    assertEquals(await readBytes(backend, 0, 65536), new Uint8Array(65536));
    assertEquals(allocatedBytes(path) >= 65536, keeps);
  }
});

Deno.test({
  name: "file's bytes conform on a tmpfs, which has no FALLOC_FL_ZERO_RANGE, and ENOSPC is told",
  ignore: !isRoot,
  fn: async () => {
    using scratch = new Scratch("2M");
    await using stack = await OpenedDisk.open(file(scratch.file("disk", MIB)));
    await checkBackendConformance(stack.backend, { rounds: 60, maxIoBytes: 32768 });
    await using large = await OpenedDisk.open(file(scratch.file("large", 8 * MIB)));
    const write = () => large.backend.writeAt(new Uint8Array(4 * MIB), 0, { fua: false });
    const error = assertThrows(write, UblkError, "ENOSPC");
    assertEquals(error.errno, 28);
  },
});

Deno.test("file's bytes are an error where the file has become shorter", async () => {
  using scratch = new Scratch();
  const path = scratch.file("disk", MIB);
  await using stack = await OpenedDisk.open(file(path));
  Deno.truncateSync(path, 4096);
  assertThrows(() => stack.backend.readAt(new Uint8Array(8192), 0), UblkError, "EIO");
  assert(stack.backend.ring !== undefined, "by itself the ring serves it");
});

Deno.test("file's bytes + a failed fdatasync + no later flush or FUA write succeeds", () => {
  using scratch = new Scratch();
  const fd = openFile(scratch.file("disk", MIB), O_RDWR, 0);
  const fds = [fd];
  const layout = new StripeLayout(1, 4096);
  const lost = LostWrites.memory();
  const [one, other] = [1, 2].map(() =>
    byteMethods({ fds, layout, direct: false, punches: false, lost })
  );
  const write = (fua: boolean) => one.writeAt(new Uint8Array(4096), 0, { fua });
  write(true);
  // No descriptor: EBADF.
  fds[0] = -1;
  assertThrows(() => one.flush!(), UblkError, "fdatasync: EBADF");
  fds[0] = fd;
  for (const flush of [() => one.flush!(), () => other.flush!(), () => write(true)]) {
    const error = assertThrows(flush, UblkError, "an earlier flush has failed");
    assertEquals(error.errno, 5);
  }
  write(false);
  closeFd(fd);
});

Deno.test("file's and stripe's bytes and ring share what they know of lost writes, in all threads", async () => {
  using scratch = new Scratch();
  const paths = ["a", "b"].map((name) => scratch.file(name, MIB));
  for (const spec of [file(paths[0]), stripe(paths)]) {
    await using disk = await OpenedDisk.open(spec);
    const { own: { lost } } = disk.shared as { own: { lost: SharedArrayBuffer } };
    assertEquals(disk.backend.flush!(), undefined);
    new LostWrites(lost).note(-5);
    assertThrows(() => disk.backend.flush!(), UblkError, "an earlier flush has failed");
    assert(disk.backend.ring instanceof FileRequests);
    const request = { op: 2, offset: 0, length: 0, metadataLength: 0, fua: false, mayUnmap: false };
    const ring = disk.backend.ring as FileRequests;
    assertEquals(ring.prepare({ ...request, state: 0 } as never, {} as never), -5);
  }
});
