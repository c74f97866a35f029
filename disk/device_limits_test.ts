import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { DiskModel } from "../tests/disk_model.ts";
import { RingRequests } from "../tests/ring_requests.ts";
import { run, Scratch, unmount } from "../tests/scratch.ts";
import { OpenedDisk } from "./opened.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import { Dice } from "../uapi/dice.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import type { Backend, Topology } from "./backend.ts";
import { fitted, possible, shifted, striped } from "./device_limits.ts";
import { file, type FileOptions } from "../backends/loop.ts";
import type { BackendSpec } from "./spec.ts";
import { stripe } from "../backends/stripe.ts";
import { cow } from "../backends/wrappers/cow.ts";
import { offset } from "../backends/wrappers/offset.ts";
import { partition } from "../backends/wrappers/partition.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const MIB = 1 << 20;

/** A loop device over a file of 4 MiB; optionally on a ramfs, whose files have no `fallocate`. */
class Device implements Disposable {
  readonly path: string;
  readonly #scratch = new Scratch();
  readonly #isRamfs: boolean;

  constructor(options: string[], { ramfs = false } = {}) {
    this.#isRamfs = ramfs;
    if (ramfs) run("mount", "-t", "ramfs", "none", this.#scratch.path);
    this.path = run("losetup", "-f", "--show", ...options, this.#scratch.file("disk", 4 * MIB));
  }

  /** Reads a file of its queue's folder in sysfs. */
  limit(name: string): number {
    return Number(Deno.readTextFileSync(`/sys/block/${this.path.slice(5)}/queue/${name}`));
  }

  [Symbol.dispose]() {
    run("losetup", "-d", this.path);
    if (this.#isRamfs) unmount(this.#scratch.path);
    this.#scratch[Symbol.dispose]();
  }
}

/** Opens a disk and returns what `look` sees of it. */
async function backendOf<T>(spec: BackendSpec, look: (backend: Backend) => T): Promise<T> {
  await using stack = await OpenedDisk.open(spec);
  return look(stack.backend);
}

/**
 * Sends the disk only requests that it offers, as the kernel does, and compares it with a model.
 */
async function live(path: string, options: FileOptions, blockSize: number) {
  await using disk = await RingRequests.open(file(path, options));
  const { backend } = disk;
  assertEquals(backend.blockSize, blockSize);
  const plain = [UBLK_IO_OP_READ, UBLK_IO_OP_WRITE, UBLK_IO_OP_FLUSH];
  const ops = backend.trim === undefined ? [plain] : [];
  const model = new DiskModel(backend.size, blockSize, 64 << 10, new Dice(7));
  for (let round = 0; round < 20; round++) {
    const batch = model.batch(8, ...ops);
    const requests = disk.run(batch.map(({ io }) => io));
    for (const [index, { check }] of batch.entries()) check(requests[index]);
  }
}

Deno.test("a disk over a device with blocks of 4096 bytes has them too, and nothing fails", async () => {
  // Blocks used to be 512 bytes: discards and zeroes failed with EINVAL unless they covered whole
  // blocks of the device below.
  for (const direct of [false, true]) {
    using device = new Device(["-b", "4096"]);
    await live(device.path, { direct }, 4096);
  }
  using device = new Device(["-b", "4096"]);
  const [trim, zeroes] = await backendOf(
    file(device.path),
    (disk) => [disk.trim, disk.writeZeroes],
  );
  assert(trim !== undefined && zeroes !== undefined);
});

Deno.test("a disk with smaller blocks than its device, as asked for, leaves zeroes to the kernel", async () => {
  using device = new Device(["-b", "4096"]);
  const blockSize = 512;
  const offers = await backendOf(
    file(device.path, { blockSize }),
    (disk) => [disk.trim, disk.writeZeroes],
  );
  assertEquals(offers, [undefined, undefined]);
  await live(device.path, { blockSize }, blockSize);
});

Deno.test("a disk offers discard and zeroes only where all devices below have them", async () => {
  using without = new Device([], { ramfs: true });
  using device = new Device([]);
  assertEquals(without.limit("write_zeroes_max_bytes"), 0, "a loop over a ramfs");
  const none = [undefined, undefined];
  const offers = ({ trim, writeZeroes }: Backend) => [trim, writeZeroes];
  assertEquals(await backendOf(file(without.path), offers), none);
  assertEquals(await backendOf(stripe([device.path, without.path]), offers), none);
  assert((await backendOf(stripe([device.path]), offers))[0] !== undefined);
  await live(without.path, {}, 512);
});

Deno.test("a disk over a device that is write-protected is read-only", async () => {
  using locked = new Device(["-r"]);
  using device = new Device([]);
  using scratch = new Scratch();
  const readOnly = (disk: Backend) => disk.readOnly;
  const metadata = scratch.file("metadata", MIB);
  const specs = [
    file(locked.path),
    file(locked.path, { metadataPath: metadata, metadataSize: 8 }),
    file(metadata, { metadataPath: locked.path, metadataSize: 8 }),
    stripe([device.path, locked.path]),
  ];
  for (const spec of specs) assertEquals(await backendOf(spec, readOnly), true);
  assertEquals(await backendOf(file(device.path), readOnly), false);
});

// With the block size of the device below, the same metadata belonged to other blocks: reads
// checked the wrong part, and writes overwrote the metadata of other blocks.
Deno.test("metadata belongs to blocks whose size nothing below the disk changes", async () => {
  using scratch = new Scratch();
  const metadataPath = scratch.file("metadata", MIB);
  const options = { metadataPath, metadataSize: 8 };
  using device = new Device(["-b", "4096"]);
  const io = { op: UBLK_IO_OP_WRITE, sector: 64, sectors: 8, flags: 0, data: new Uint8Array(4096) };
  const tags = Uint8Array.from({ length: 64 }, (_, index) => index);
  {
    await using disk = await RingRequests.open(
      file(device.path, { ...options, blockSize: 512 }),
      8,
    );
    assertEquals(disk.io(io, tags).result, 4096);
  }
  {
    await using disk = await RingRequests.open(file(device.path, options), 8);
    assertEquals(disk.io({ ...io, op: UBLK_IO_OP_READ }).result, 4096);
    assertEquals(disk.lastMetadata, tags);
  }
  const error = await assertRejects(
    () => OpenedDisk.open(file(device.path, { ...options, direct: true })),
    UblkError,
    "no blocks of 512",
  );
  assertEquals(error.hint, "use blocks of 4096, or serve it without direct");
  // A recovered device keeps its block size. It is refused rather than given another one.
  const blockSize = (deviceBlockSize: number, more: FileOptions = {}) =>
    OpenedDisk.open(file(device.path, { ...options, ...more }), {
      recovered: { blockSize: deviceBlockSize },
    })
      .then(async (stack) => {
        await using disk = stack;
        return disk.backend.blockSize;
      });
  for (const size of [512, 4096]) assertEquals(await blockSize(size), size);
  assertEquals(await blockSize(4096, { direct: true }), 4096);
  await assertRejects(() => blockSize(512, { direct: true }), UblkError, "no blocks of 512");
});

Deno.test("a disk hands on the limits of its device, as the kernel has them", async () => {
  for (const options of [[], ["-b", "4096"]]) {
    using device = new Device(options);
    const topology = (await backendOf(file(device.path), (disk) => disk.topology))!;
    assertEquals(topology.physicalBlockSize, device.limit("physical_block_size"));
    assertEquals(topology.ioMinBytes, device.limit("minimum_io_size"));
    assertEquals(topology.ioOptBytes ?? 0, device.limit("optimal_io_size"));
    assertEquals(topology.rotational, device.limit("rotational") === 1);
    assertEquals(topology.discardGranularityBytes, device.limit("discard_granularity"));
  }
});

Deno.test("a disk in a file rotates where the kernel's loop over it does", async () => {
  using device = new Device([]);
  using scratch = new Scratch();
  const topology = (await backendOf(file(scratch.file("a", MIB)), (disk) => disk.topology))!;
  assertEquals(topology.rotational, device.limit("rotational") === 1);
  assertEquals(topology.discardGranularityBytes, device.limit("discard_granularity"));
});

Deno.test("a wrapper hands on limits, or has its own", async () => {
  using device = new Device(["-b", "4096"]);
  using scratch = new Scratch();
  const topology = (spec: BackendSpec) => backendOf(spec, (disk) => disk.topology!);
  const disk = await topology(file(device.path));
  const half = await topology(offset(file(device.path), { start: 2 * MIB }));
  assertEquals(half, { ...disk, discardAlignmentBytes: 0 });
  run("sh", "-c", `echo 300,200 | sfdisk -q "$0" 2> /dev/null || true`, device.path);
  const part = await topology(partition(file(device.path), { number: 1 }));
  assertEquals(part.physicalBlockSize, 4096);
  const over = await topology(
    cow(file(device.path, { readOnly: true }), { file: `${scratch.path}/cow`, block: "64K" }),
  );
  assertEquals([over.discardGranularityBytes, over.ioOptBytes], [65536, 65536]);
  assertEquals(over.rotational, disk.rotational);
});

Deno.test("possible() finds the power of two in sizes that ublk cannot have", () => {
  const cases: [number, number, number | undefined][] = [
    [4096, 512, 4096],
    [192 << 10, 4096, 64 << 10],
    [0, 512, undefined],
    // Some USB bridges report this.
    [65535 * 512, 4096, undefined],
    [2 ** 29, 512, undefined],
  ];
  for (const [bytes, min, expected] of cases) {
    assertEquals(possible(bytes, min), expected, `${bytes}`);
  }
});

Deno.test("striped() has the strictest limits, and sizes of its own", () => {
  const one: Topology = { physicalBlockSize: 512, rotational: false, discardGranularityBytes: 512 };
  const two: Topology = {
    physicalBlockSize: 4096,
    rotational: true,
    discardGranularityBytes: MIB,
    dmaAlignmentBytes: 4,
  };
  assertEquals(striped([one, two, one], 65536), {
    physicalBlockSize: 4096,
    ioMinBytes: 65536,
    // The largest power of two that divides 192 KiB.
    ioOptBytes: 65536,
    rotational: true,
    discardGranularityBytes: 3 * MIB,
    dmaAlignmentBytes: 4,
  });
});

Deno.test("shifted() promises no alignment that the start takes away", () => {
  const topology: Topology = {
    physicalBlockSize: 4096,
    ioMinBytes: 4096,
    ioOptBytes: 65536,
    discardGranularityBytes: 65536,
  };
  // The first partition in old partition tables begins at sector 63.
  assertEquals(shifted(topology, 63 * 512, 512), {
    physicalBlockSize: 512,
    ioMinBytes: 512,
    ioOptBytes: 512,
    discardGranularityBytes: 65536,
    discardAlignmentBytes: 65536 - 63 * 512,
  });
  assertEquals(shifted(topology, MIB, 512), { ...topology, discardAlignmentBytes: 0 });
  assertEquals(shifted(topology, 2 ** 41 + 8192, 512).ioOptBytes, 8192);
  const twice = shifted(shifted(topology, 4096, 512), 8192, 512);
  assertEquals(twice.discardAlignmentBytes, 65536 - 12288);
});

Deno.test("fitted() has nothing smaller than the disk's block", () => {
  const topology: Topology = {
    physicalBlockSize: 512,
    ioMinBytes: 512,
    discardGranularityBytes: 6144,
  };
  const { physicalBlockSize, ioMinBytes, ioOptBytes, discardGranularityBytes } = fitted(
    topology,
    4096,
  );
  assertEquals([physicalBlockSize, ioMinBytes, ioOptBytes], [4096, 4096, undefined]);
  assertEquals(discardGranularityBytes, 8192);
});

Deno.test("a refusal of block devices names no remedy that is for files", async () => {
  using small = new Device(["--sizelimit", `${MIB}`]);
  using tiny = new Device(["--sizelimit", "4096"]);
  using device = new Device([]);
  const sizes = await assertRejects(
    () => OpenedDisk.open(stripe([device.path, small.path])),
    UblkError,
  );
  assertMatch(sizes.message, /; give partitions of the same size$/);
  const chunks = await assertRejects(() => OpenedDisk.open(stripe([tiny.path])), UblkError);
  assertMatch(chunks.message, /; use smaller chunks$/);
});
