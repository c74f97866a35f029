/**
 * Live disks that grow and shrink.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Control } from "../../ctrl/control.ts";
import { type Backend, file, memory, serve, type ServedDevice, UblkError } from "../../mod.ts";
import { UBLK_F_PER_IO_DAEMON, UBLK_F_UPDATE_SIZE } from "../../uapi/features.ts";
import { sh, temporaryFolder, testWhere } from "./_disk.ts";

const MIB = 1 << 20;

const FEATURES = await (async () => {
  await using control = await Control.open();
  return control.features;
})();
const RESIZES = (FEATURES & UBLK_F_UPDATE_SIZE) !== 0;

/** The size by the kernel, in two places. */
async function capacity(device: ServedDevice): Promise<number> {
  const sectors = Number(await sh(`cat /sys/block/ublkb${device.id}/size`));
  assertEquals(
    Number(await sh("blockdev --getsize64 $disk", { disk: device.path })),
    sectors * 512,
  );
  return sectors * 512;
}

/** Writes at the end of the disk, and reads it back past every cache. */
const USE_END = `
  head -c 4096 /dev/urandom > $page
  dd if=$page of=$disk bs=4096 seek=$(($(blockdev --getsize64 $disk) / 4096 - 1)) \\
    oflag=direct conv=notrunc status=none
  dd if=$disk bs=4096 skip=$(($(blockdev --getsize64 $disk) / 4096 - 1)) iflag=direct \\
    status=none | cmp - $page
`;

async function resizes(device: ServedDevice, page: string): Promise<void> {
  for (const size of [16 * MIB, 64 * MIB, 64 * MIB + 4096, 8 * MIB, 32 * MIB]) {
    await device.resize(size);
    assertEquals([device.info().size, await capacity(device)], [size, size]);
    await sh(USE_END, { disk: device.path, page });
  }
}

/** An object in this process, with Promises. */
function growing(): Backend {
  let bytes = new Uint8Array(8 * MIB);
  return {
    get size() {
      return bytes.length;
    },
    readAt: async (buffer, offset) => {
      await Promise.resolve();
      buffer.set(bytes.subarray(offset, offset + buffer.length));
    },
    writeAt: (buffer, offset) => bytes.set(buffer, offset),
    async resize(size) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const old = bytes;
      bytes = new Uint8Array(size);
      bytes.set(old.subarray(0, size));
    },
  };
}

for (
  const [name, options] of [
    ["1 queue", {}],
    ["3 queues", { queues: 3 }],
    ["per-I/O daemons", { queues: 2, threads: 3, perIoDaemons: true }],
  ] as const
) {
  testWhere(
    RESIZES && !("perIoDaemons" in options && (FEATURES & UBLK_F_PER_IO_DAEMON) === 0),
    `resize() + a file, ${name} + disk, file and info() have the new size`,
    async () => {
      await using folder = await temporaryFolder();
      const path = `${folder.path}/disk`;
      const backend = file(path, { create: true, size: 8 * MIB });
      await using device = await serve({ backend, ...options });
      await resizes(device, `${folder.path}/page`);
      assertEquals(Deno.statSync(path).size, 32 * MIB);
    },
  );
}

testWhere(
  RESIZES,
  "resize() + an object with Promises + disk and backend have the new size",
  async () => {
    await using folder = await temporaryFolder();
    await using device = await serve({ backend: growing() });
    await resizes(device, `${folder.path}/page`);
  },
);

testWhere(RESIZES, "resize() + a mounted ext4 under load + grows online", async () => {
  await using folder = await temporaryFolder();
  const backend = file(`${folder.path}/disk`, { create: true, size: 32 * MIB });
  await using device = await serve({ backend, queues: 2 });
  const env = { disk: device.path, mount: `${folder.path}/mount` };
  await sh("mkfs.ext4 -q $disk; mkdir $mount; mount -t ext4 $disk $mount", env);
  try {
    const load = sh(
      "for i in $(seq 12); do head -c 1M /dev/urandom > $mount/$((i % 8)); sync -f $mount; done",
      env,
    );
    await device.resize(96 * MIB);
    await sh("resize2fs $disk 2>&1", env);
    await load;
    await sh("head -c 48M /dev/zero > $mount/large; sync -f $mount", env);
  } finally {
    await sh("umount $mount", env);
  }
  await sh("fsck.ext4 -fn $disk", env);
});

Deno.test("resize() + what cannot be + one line, and the size stays", async () => {
  await using folder = await temporaryFolder();
  const backend = file(`${folder.path}/disk`, { create: true, size: 8 * MIB });
  await using device = await serve({ backend });
  const refused = async (bytes: number) => {
    const error = await assertRejects(() => device.resize(bytes), UblkError);
    assert(!error.message.includes("\n"));
    assertEquals([device.info().size, await capacity(device)], [8 * MIB, 8 * MIB]);
    return error;
  };
  assertEquals((await refused(1000)).code, "INVALID_ARGUMENT");
  assertEquals((await refused(0)).code, "INVALID_ARGUMENT");
  if (!RESIZES) {
    const error = await refused(16 * MIB);
    assertEquals(error.code, "KERNEL_TOO_OLD");
    assert(error.message.includes("Linux 6.16"), error.message);
  }
  await using fixed = await serve({
    backend: { size: MIB, readAt: (buffer) => void buffer.fill(0), writeAt() {} },
  });
  await assertRejects(() => fixed.resize(2 * MIB), UblkError, "cannot be resized");
  if (RESIZES) {
    const resize = () => {
      throw Object.assign(new Error("no"), { code: "ENOSPC" });
    };
    await using full = await serve({
      backend: { size: MIB, readAt: (buffer) => void buffer.fill(0), writeAt() {}, resize },
    });
    const error = await assertRejects(() => full.resize(2 * MIB), UblkError, "ENOSPC");
    assertEquals([error.code, full.info().size], ["SYSCALL_FAILED", MIB]);
    assertEquals(await capacity(full), MIB);
  }
  await using disk = await serve({ backend: memory("4MiB") });
  await disk.stop();
  await assertRejects(() => disk.resize(8 * MIB), UblkError, "the device is");
});
