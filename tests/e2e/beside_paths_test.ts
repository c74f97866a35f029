/**
 * What stands beside the data paths: memory that clients share, and integrity metadata. The same
 * seeded requests as in `paths_test.ts`, compared with the same model.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type BackendSpec,
  type DeviceOptions,
  file,
  memory,
  serve,
  type ServedDevice,
  UblkError,
} from "../../mod.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../../uapi/ublk_io.ts";
import { ALL_OPS } from "../disk_model.ts";
import { attempt, sh, temporaryFolder } from "./_disk.ts";
import { ModelClient } from "./_model_process.ts";

const MIB = 1 << 20;
const SIZE = 8 * MIB;
/** Of which sixteen make one huge page. */
const MAX_IO_BYTES = 128 << 10;
const HUGE_PAGE_BYTES = 2 * MIB;

/** Serves, unless the kernel is older than both: then it must say so, in one line. */
async function serveOrRefuse(options: DeviceOptions): Promise<ServedDevice | undefined> {
  if (Number(Deno.osRelease().split(".")[0]) >= 7) return await serve(options);
  const error = await assertRejects(() => serve(options), UblkError);
  assertEquals([error.code, error.message.includes("\n")], ["KERNEL_TOO_OLD", false]);
  return undefined;
}

let client: ModelClient;
Deno.test.beforeAll(() => {
  client = new ModelClient();
});
Deno.test.afterAll(() => client.close());

const task = (device: { path: string }, seed: number, ops: readonly number[]) => ({
  ...{ path: device.path, size: SIZE, blockSize: 512, maxIoBytes: MAX_IO_BYTES },
  ...{ seed, rounds: 12, ops },
});

/** A file of one huge page, mounted in a folder until it is disposed of. */
async function hugePage(folder: string): Promise<AsyncDisposable & { path: string }> {
  const mount = `${folder}/huge`;
  await sh(
    "echo 4 > /proc/sys/vm/nr_hugepages; mkdir $mount; mount -t hugetlbfs none $mount; \
    fallocate -l $bytes $mount/page",
    { mount, bytes: `${HUGE_PAGE_BYTES}` },
  );
  return {
    path: `${mount}/page`,
    async [Symbol.asyncDispose]() {
      await sh("umount $mount; echo 0 > /proc/sys/vm/nr_hugepages", { mount });
    },
  };
}

const onFile = (folder: string): BackendSpec =>
  file(`${folder}/disk`, { create: true, size: SIZE });
const SHARED: [string, (folder: string) => BackendSpec, Partial<DeviceOptions>][] = [
  ["mem + copy", () => memory(SIZE), { dataPath: "copy" }],
  ["mem + user-copy, batch", () => memory(SIZE), { dataPath: "user-copy", batch: true }],
  ["loop + copy, batch", onFile, { dataPath: "copy", batch: true }],
  ["loop + user-copy", onFile, { dataPath: "user-copy" }],
  ["loop + auto-zero-copy", onFile, { dataPath: "auto-zero-copy" }],
];
for (const [index, [name, make, options]] of SHARED.entries()) {
  Deno.test(`${name}, shared memory + holds what the model holds`, async () => {
    await using folder = await temporaryFolder();
    await using page = await hugePage(folder.path);
    await using device = await serveOrRefuse({
      backend: make(folder.path),
      queues: 2,
      depth: 16,
      maxIoBytes: MAX_IO_BYTES,
      sharedMemory: { path: page.path },
      ...options,
    });
    if (device === undefined) return;
    const all = task(device, 100 + index, ALL_OPS);
    assertEquals(await client.run({ ...all, memory: page.path }), "ok");
    const { total } = device.stats();
    assertEquals(total.errors, 0);
    // Not all: a request that the block layer has split is in no one piece of it.
    assert(total.shared > 0 && total.shared <= total.reads + total.writes, `${total.shared}`);
    // Requests from memory of the client's own go the other way, on the same disk.
    const { seed, rounds, ...rest } = all;
    const zeroed = await attempt("blkdiscard -z $disk", { disk: device.path });
    assertEquals(zeroed.code, 0, zeroed.stderr);
    assertEquals(await client.run({ ...rest, seed: seed + 1, rounds: rounds / 2 }), "ok");
    assertEquals(device.stats().total.shared, total.shared);
  });
}

for (const batch of [false, true]) {
  const how = batch ? ", batch" : "";
  Deno.test(
    `loop + user-copy${how}, integrity + the kernel finds its checksums`,
    async () => {
      await using folder = await temporaryFolder();
      const metadataPath = `${folder.path}/metadata`;
      await Deno.writeFile(metadataPath, new Uint8Array(SIZE / 512 * 8));
      const path = `${folder.path}/disk`;
      await using device = await serveOrRefuse({
        backend: file(path, { create: true, size: SIZE, metadataPath, metadataSize: 8 }),
        queues: 2,
        depth: 16,
        maxIoBytes: MAX_IO_BYTES,
        dataPath: "user-copy",
        batch,
        // The CRC of zeroes is zero: blocks that were never written are in order too.
        integrity: { metadataSize: 8, checksum: "t10dif", capable: true },
      });
      if (device === undefined) return;
      if (device === undefined) return;
      // The kernel makes a checksum for each block that is written, and compares it when it is read.
      const ops = [UBLK_IO_OP_READ, UBLK_IO_OP_WRITE, UBLK_IO_OP_WRITE, UBLK_IO_OP_FLUSH];
      assertEquals(await client.run(task(device, 200 + Number(batch), ops)), "ok");
      assertEquals(device.stats().total.errors, 0);
      const checksums = await Deno.readFile(metadataPath);
      assert(checksums.some((byte) => byte !== 0), "no checksum was stored");
      // That it does compare: one wrong bit in a checksum is an error, of that block alone.
      const read = (block: number) =>
        attempt(`dd if=$disk of=/dev/null bs=512 count=1 skip=${block} iflag=direct`, {
          disk: device.path,
        });
      checksums[40 * 8] ^= 1;
      await Deno.writeFile(metadataPath, checksums);
      const { code, stderr } = await read(40);
      assertEquals(code, 1);
      assertMatch(stderr, /Invalid or incomplete multibyte or wide character/);
      assertEquals((await read(41)).code, 0);
    },
  );
}
