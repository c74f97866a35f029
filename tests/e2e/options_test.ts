/**
 * Each option that asks something of the driver: it is in force, or the kernel is too old and the
 * error says which one has it.
 *
 * @module
 */

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Control } from "../../ctrl/control.ts";
import {
  type DeviceOptions,
  file,
  memory,
  serve,
  type ServedDevice,
  UblkError,
} from "../../mod.ts";
import {
  FEATURES as ALL,
  UBLK_F_BATCH_IO,
  UBLK_F_INTEGRITY,
  UBLK_F_NO_AUTO_PART_SCAN,
  UBLK_F_PER_IO_DAEMON,
  UBLK_F_SHMEM_ZC,
  UBLK_F_USER_RECOVERY,
} from "../../uapi/features.ts";
import { sh, temporaryFolder } from "./_disk.ts";

const MIB = 1 << 20;

const FEATURES = await (async () => {
  await using control = await Control.open();
  return control.features;
})();

interface Case {
  readonly name: string;
  readonly flag: number;
  options(folder: string): Partial<DeviceOptions>;
  check?(device: ServedDevice): void | Promise<void>;
}

const disk = (folder: string) => file(`${folder}/disk`, { create: true, size: 8 * MIB });

const CASES: Case[] = [
  {
    name: "noPartitionScan",
    flag: UBLK_F_NO_AUTO_PART_SCAN,
    options: () => ({ noPartitionScan: true }),
  },
  {
    name: "batch with more threads than queues",
    flag: UBLK_F_BATCH_IO,
    options: () => ({ batch: true, queues: 2, threads: 3 }),
    check: (device) => {
      const { batch, threads, queues } = device.info();
      assertEquals({ batch, threads, queues }, { batch: true, threads: 3, queues: 2 });
    },
  },
  {
    name: "perIoDaemons with more threads than queues, and CPUs by hand",
    flag: UBLK_F_PER_IO_DAEMON,
    options: () => ({ perIoDaemons: true, queues: 2, threads: 3, affinity: [[0], [1]] }),
    check: (device) => assertEquals(device.info().threads, 3),
  },
  {
    name: "recovery",
    flag: UBLK_F_USER_RECOVERY,
    options: () => ({ recovery: "queue" }),
    check: (device) => assertEquals(device.info().recovery, "queue"),
  },
  {
    name: "integrity",
    flag: UBLK_F_INTEGRITY,
    options: (folder) => ({
      backend: file(`${folder}/disk`, {
        create: true,
        size: 8 * MIB,
        metadataPath: `${folder}/metadata`,
        metadataSize: 16,
      }),
      integrity: {
        metadataSize: 16,
        checksum: "t10dif",
        piOffset: 8,
        capable: true,
        refTag: true,
        tagSize: 2,
      },
    }),
    check: async (device) => {
      assertEquals(device.info().dataPath, "user-copy");
      const format = await sh(`cat /sys/block/ublkb${device.id}/integrity/format`);
      assertEquals(format, "T10-DIF-TYPE1-CRC");
    },
  },
  {
    name: "sharedMemory",
    flag: UBLK_F_SHMEM_ZC,
    options: (folder) => {
      Deno.writeFileSync(`${folder}/shared`, new Uint8Array(MIB));
      return { sharedMemory: { path: `${folder}/shared` } };
    },
  },
];

for (const { name, flag, options, check } of CASES) {
  Deno.test(`serve() + ${name} + is in force, or the kernel is said to be too old`, async () => {
    await using folder = await temporaryFolder();
    const asked = { backend: disk(folder.path), ...options(folder.path) };
    const feature = ALL.find((one) => one.flag === flag)!;
    if ((FEATURES & flag) === 0) {
      const error = await assertRejects(() => serve(asked), UblkError);
      assertEquals(error.code, "KERNEL_TOO_OLD");
      assertStringIncludes(error.message, `Linux ${feature.kernel}`);
      return;
    }
    await using device = await serve(asked);
    assertEquals(device.info().features.includes(feature.name.slice("UBLK_F_".length)), true);
    assertEquals(device.info().reductions, []);
    await check?.(device);
    await sh(
      "head -c 4M /dev/urandom > $data; dd if=$data of=$disk bs=64K oflag=direct status=none; " +
        "dd if=$disk bs=64K count=64 iflag=direct status=none | cmp - $data",
      { disk: device.path, data: `${folder.path}/data` },
    );
    assertEquals(device.stats().total.errors, 0);
  });
}

Deno.test("serve() + topology + is what the block layer says of the disk", async () => {
  await using folder = await temporaryFolder();
  await using device = await serve({
    backend: disk(folder.path),
    topology: {
      rotational: true,
      physicalBlockSize: 8192,
      ioOptBytes: MIB,
      discardGranularityBytes: 64 << 10,
    },
  });
  const queue = (name: string) => sh(`cat /sys/block/ublkb${device.id}/queue/${name}`);
  const names = ["rotational", "physical_block_size", "optimal_io_size", "discard_granularity"];
  assertEquals(await Promise.all(names.map(queue)), ["1", "8192", `${MIB}`, `${64 << 10}`]);
  const small = { backend: memory("4MiB", { blockSize: 4096 }), topology: { ioOptBytes: 512 } };
  await assertRejects(() => serve(small), UblkError, "topology.ioOptBytes: 512 is less than");
});

Deno.test("serve() + what a backend cannot do + one line, and nothing is left", async () => {
  const cases: [options: DeviceOptions, words: string][] = [
    [{ backend: memory("4MiB"), dataPath: "zero-copy" }, "the server never sees the bytes"],
    [{ backend: memory("4MiB"), integrity: { metadataSize: 8 } }, "keeps no integrity metadata"],
    [{ backend: memory("4MiB"), affinity: [[0], [1]] }, "2 lists of CPUs for 1 serving threads"],
    [{ backend: memory("4MiB"), sharedMemory: { path: "/no/such/file" } }, "is missing"],
    [
      { backend: { size: MIB, readAt() {}, writeAt() {} }, threads: 2, queues: 2 },
      "belongs to one",
    ],
  ];
  for (const [options, words] of cases) {
    const error = await assertRejects(() => serve(options), UblkError, words);
    assertEquals([error.code, error.message.includes("\n")], ["INVALID_ARGUMENT", false]);
  }
});
