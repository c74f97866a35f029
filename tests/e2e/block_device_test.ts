/** Disks over block devices: what the kernel is told of them, and what becomes of requests. */

import { assertEquals } from "@std/assert";
import { file, serve, stripe } from "../../mod.ts";
import { attempt, queueAttribute, sh, temporaryFolder } from "./_disk.ts";

/** Without zeroes of its own, and with discard: what `null_blk` is. */
async function nullBlock(run: (device: string) => Promise<void>): Promise<void> {
  const folder = "/sys/kernel/config/nullb/nullb9";
  await sh(
    `modprobe null_blk nr_devices=0
     mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
     mkdir $folder; cd $folder
     echo 4096 > blocksize; echo 64 > size; echo 1 > memory_backed; echo 1 > discard
     echo 1 > rotational; echo 1 > power`,
    { folder },
  );
  try {
    await run("/dev/nullb9");
  } finally {
    await sh("echo 0 > $folder/power; rmdir $folder", { folder });
  }
}

const ATTRIBUTES = [
  ...["logical_block_size", "physical_block_size", "minimum_io_size", "rotational"],
  ...["discard_max_bytes", "write_zeroes_max_bytes", "discard_granularity"],
];

async function attributesOf(name: string): Promise<Record<string, number>> {
  const folder = `/sys/block/${name}/queue`;
  const text = await sh(`cd $folder; cat ${ATTRIBUTES.join(" ")}`, { folder });
  return Object.fromEntries(text.split("\n").map((line, at) => [ATTRIBUTES[at], Number(line)]));
}

Deno.test("serve() + device without zeroes + has its blocks, rotates as it does, and has no discard", () =>
  nullBlock(async (device) => {
    // The kernel's own loop, in blocks of the device, is the measure.
    const loop = await sh("losetup -f --show -b 4096 $device", { device });
    const measure = await attributesOf(loop.slice("/dev/".length));
    await sh("losetup -d $loop", { loop });
    await using disk = await serve({ backend: file(device) });
    assertEquals(await attributesOf(`ublkb${disk.id}`), measure);
    assertEquals([measure.rotational, measure.discard_max_bytes], [1, 0]);
    // Zeroes are written by the kernel then; nothing fails, and fstrim tells the truth.
    await sh("blkdiscard -z -o 4096 -l 8192 $disk; mkfs.ext4 -q $disk", { disk: disk.path });
    await using folder = await temporaryFolder();
    const trim = await attempt(
      "mount $disk $folder; trap 'umount $folder' EXIT; cp /bin/bash $folder; fstrim $folder",
      { disk: disk.path, folder: folder.path },
    );
    assertEquals([trim.code, /not supported/.test(trim.stderr)], [1, true], trim.stderr);
    await sh("fsck.ext4 -fn $disk", { disk: disk.path });
    assertEquals(disk.stats().total.errors, 0);
  }));

for (const blockSize of [undefined, 512]) {
  Deno.test(`serve() + device with blocks of 4096, ${blockSize ?? "its own"} above + no request fails`, async () => {
    await using folder = await temporaryFolder();
    // In an ext4: a loop device over a tmpfs loses its zeroes with the first range that keeps its
    // space, since tmpfs has no FALLOC_FL_ZERO_RANGE.
    const loop = await sh(
      `cd $folder; mkdir below above; truncate -s 128M fs; mkfs.ext4 -q fs; mount -o loop fs below
       truncate -s 64M below/image; losetup -f --show -b 4096 below/image`,
      { folder: folder.path },
    );
    try {
      await using disk = await serve({ backend: file(loop, { blockSize }), queues: 2 });
      const own = blockSize ?? 4096;
      assertEquals(await queueAttribute(disk, "logical_block_size"), `${own}`);
      await sh(
        `head -c 1M /dev/zero | tr '\\0' x | dd of=$disk bs=64K iflag=fullblock status=none oflag=direct
         blkdiscard -z -o $((3 * own)) -l $((5 * own)) $disk
         test $(dd if=$disk bs=64K count=16 iflag=direct status=none | tr -d x | wc -c) = $((5 * own))
         mkfs.ext4 -q $disk; mount $disk $above; cp /bin/bash $above; rm $above/bash
         [ $own = 512 ] || fstrim $above
         umount $above; fsck.ext4 -fn $disk`,
        { disk: disk.path, own: `${own}`, above: `${folder.path}/above` },
      );
      assertEquals(disk.stats().total.errors, 0);
      assertEquals(disk.stats().total.discards > 0, blockSize === undefined);
    } finally {
      await sh("losetup -d $loop; umount $below", { loop, below: `${folder.path}/below` });
    }
  });
}

Deno.test("serve() + device that is write-protected + the disk is read-only", () =>
  nullBlock(async (device) => {
    await sh("blockdev --setro $device", { device });
    try {
      for (const backend of [file(device), stripe([device])]) {
        await using disk = await serve({ backend });
        assertEquals(await sh("blockdev --getro $disk", { disk: disk.path }), "1");
        assertEquals(disk.info().readOnly, true);
      }
    } finally {
      await sh("blockdev --setrw $device", { device });
    }
  }));
