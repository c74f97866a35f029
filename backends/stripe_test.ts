import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DiskModel } from "../tests/disk_model.ts";
import { RingRequests } from "../tests/ring_requests.ts";
import { allocatedBytes, Scratch } from "../tests/scratch.ts";
import { EIO, ENOSPC } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import {
  UBLK_IO_F_FUA,
  UBLK_IO_OP_DISCARD,
  UBLK_IO_OP_FLUSH,
  UBLK_IO_OP_READ,
  UBLK_IO_OP_WRITE,
} from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { loadBackend } from "../disk/load.ts";
import { stripe, type StripeOptions } from "./stripe.ts";

// Opened once for the process, and before the tests, whose sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;
const CHUNK = 4096;

function files(scratch: Scratch, count: number, bytes: number): string[] {
  return Array.from({ length: count }, (_, index) => scratch.file(`${index}`, bytes));
}

/** Shortens transfers at random, drawn from a seed. */
function shortener(seed: number): (bytes: number) => number {
  const dice = new Dice(seed);
  return (bytes) => dice.draw(4) > 0 ? bytes : Math.max(512, dice.draw(bytes / 512) * 512);
}

for (const [count, chunkSize, seed] of [[1, 4096, 1], [2, 65536, 2], [3, 4096, 3], [5, 8192, 4]]) {
  for (const short of [false, true]) {
    const name =
      `stripe over ${count} files is the disk that its model is, chunks of ${chunkSize}` +
      (short ? ", also when transfers are short" : "");
    Deno.test(name, async () => {
      using scratch = new Scratch();
      const spec = stripe(files(scratch, count, MIB + 700), { chunkSize });
      await using disk = await RingRequests.open(spec);
      assertEquals(disk.backend.size, count * MIB, "in whole chunks");
      if (short) disk.shorten = shortener(seed);
      const model = new DiskModel(disk.backend.size, 512, 256 << 10, new Dice(seed));
      for (let round = 0; round < 20; round++) {
        const batch = model.batch(4);
        const requests = disk.run(batch.map(({ io }) => io));
        for (const [index, { check }] of batch.entries()) check(requests[index]);
      }
      assert(disk.widest <= 8, `${disk.widest} under way`);
    });
  }
}

Deno.test("stripe has its chunks where kublk has them", async () => {
  using scratch = new Scratch();
  const paths = files(scratch, 3, 4 * CHUNK);
  await using disk = await RingRequests.open(stripe(paths, { chunkSize: CHUNK }));
  const chunks = 12;
  const data = new Uint8Array(chunks * CHUNK).map((_, at) => 1 + Math.floor(at / CHUNK));
  const io = { op: UBLK_IO_OP_WRITE, sectors: data.length / 512, data };
  assertEquals(disk.io(io).result, data.length);
  assertEquals(disk.widest, 8, "as many at a time as it says");
  for (const [index, path] of paths.entries()) {
    const bytes = Deno.readFileSync(path);
    const found = [0, 1, 2, 3].map((row) => bytes[row * CHUNK + 77]);
    assertEquals(found, [0, 1, 2, 3].map((row) => 1 + row * 3 + index));
  }
});

Deno.test("stripe flushes every file, and syncs those that a write with FUA has touched", async () => {
  using scratch = new Scratch();
  const spec = stripe(files(scratch, 3, MIB), { chunkSize: CHUNK });
  await using disk = await RingRequests.open(spec);
  const syncs = () => disk.queued.splice(0).filter(({ name }) => name === "fsync").length;
  assertEquals(disk.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  assertEquals(syncs(), 3);
  const data = new Uint8Array(2 * CHUNK).fill(1);
  const io = { op: UBLK_IO_OP_WRITE, sectors: data.length / 512, data, flags: UBLK_IO_F_FUA };
  assertEquals(disk.io(io).result, data.length);
  assertEquals(syncs(), 2);
});

Deno.test("stripe flushes more files than it has operations", async () => {
  using scratch = new Scratch();
  await using disk = await RingRequests.open(stripe(files(scratch, 20, MIB)));
  assertEquals(disk.io({ op: UBLK_IO_OP_FLUSH }).result, 0);
  assertEquals(disk.queued.length, 20);
});

Deno.test("stripe discards one range of each file, however many chunks", async () => {
  using scratch = new Scratch();
  const paths = files(scratch, 2, MIB);
  await using disk = await RingRequests.open(stripe(paths, { chunkSize: CHUNK }));
  const data = new Uint8Array(2 * MIB).fill(1);
  disk.io({ op: UBLK_IO_OP_WRITE, sectors: data.length / 512, data });
  disk.io({ op: UBLK_IO_OP_FLUSH });
  disk.queued.length = 0;
  assertEquals(disk.io({ op: UBLK_IO_OP_DISCARD, sectors: data.length / 512 }).result, 0);
  assertEquals(disk.queued.length, 2);
  assertEquals(paths.map(allocatedBytes), [0, 0]);
});

Deno.test("stripe says EIO where a file has shrunk, and answers once all is back", async () => {
  using scratch = new Scratch();
  const paths = files(scratch, 2, MIB);
  await using disk = await RingRequests.open(stripe(paths, { chunkSize: CHUNK }));
  Deno.truncateSync(paths[1], 0);
  const io = { op: UBLK_IO_OP_READ, sectors: 512 };
  for (let round = 0; round < 20; round++) assertEquals(disk.io(io).result, -EIO);
  assertEquals(disk.io({ ...io, sectors: 8 }).result, CHUNK, "the other file is whole");
});

Deno.test({
  name: "stripe says ENOSPC where a filesystem is full, and lives",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    using scratch = new Scratch("256K");
    await using disk = await RingRequests.open(stripe(files(scratch, 2, 4 * MIB)));
    const data = new Uint8Array(MIB).fill(1);
    const io = { op: UBLK_IO_OP_WRITE, sectors: data.length / 512, data };
    assertEquals(disk.io(io).result, -ENOSPC);
    assertEquals(disk.io({ op: UBLK_IO_OP_READ, sectors: 8 }).result, 4096);
  },
});

Deno.test("stripe refuses files that do not go together, in one line", async () => {
  using scratch = new Scratch();
  const [first, longer] = [scratch.file("a", MIB), scratch.file("b", 2 * MIB)];
  const short = scratch.file("c", 1000);
  const cases: [string[], string][] = [
    [
      [first, longer],
      `${longer}: its 2 MiB are not the 1 MiB of ${first}; make them the same size`,
    ],
    [[short], "less than a chunk of 65536; make it longer"],
    [[first, `${scratch.path}/none`], "no such file"],
    [[first, first], `${first}: this disk uses it already; give each file or device once`],
  ];
  for (const [paths, words] of cases) {
    const loaded = await loadBackend(stripe(paths));
    const error = await assertRejects(() => loaded.share(), UblkError, words);
    assert(!error.message.includes("\n"), error.message);
  }
  // None of the files has stayed open and locked.
  await using _disk = await RingRequests.open(stripe([first]));
});

Deno.test("stripe refuses impossible options where they are given", () => {
  const wrong: [string[], StripeOptions, string][] = [
    [[], {}, "0 files"],
    [new Array(33).fill("a"), {}, "1 to 32"],
    [[""], {}, "is not a path"],
    [["a"], { chunkSize: 2048 }, "power of two from 4096 to 524288"],
    [["a"], { chunkSize: 1 << 20 }, "power of two"],
    [["a"], { chunkSize: 12288 }, "power of two"],
    [["a"], { blockSize: 1 }, "512, 1024"],
  ];
  for (const [paths, options, words] of wrong) {
    assertThrows(() => stripe(paths, options), UblkError, words);
  }
});
