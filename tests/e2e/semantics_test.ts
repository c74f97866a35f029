/**
 * Flush, FUA, discard, zeroes, read-only and the limits: what the disk says of itself, and does.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess, assertStringIncludes } from "@std/assert";
import { memory, serve } from "../../mod.ts";
import { count, counting, watched } from "../backends/counting.ts";
import { attempt, queueAttribute, residentBytes, sh } from "./_disk.ts";
import { settled } from "./_held.ts";

const MIB = 1 << 20;

Deno.test("serve() + fsync + reaches the backend's flush once everything was written", async () => {
  const disk = watched(4 * MIB);
  await using device = await serve({ backend: counting(disk, "single"), queues: 2 });
  assertEquals(await queueAttribute(device, "write_cache"), "write back");
  const before = count(disk, "flushes");
  // Through the page cache: fsync writes the dirty pages first.
  await sh("dd if=/dev/zero of=$disk bs=64K count=8 conv=notrunc,fsync status=none", {
    disk: device.path,
  });
  assertGreater(count(disk, "flushes"), before);
  assertEquals(device.stats().total.flushes, count(disk, "flushes"));
  assertEquals(count(disk, "writesAtFlush"), count(disk, "writes"));
  assertEquals(device.stats().total.bytesWritten, 512 << 10);
});

Deno.test("serve() + backend with fua + O_DSYNC is a write with fua", async () => {
  const disk = watched(4 * MIB);
  await using device = await serve({ backend: counting(disk, "single") });
  assertEquals(await queueAttribute(device, "fua"), "1");
  await sh("dd if=/dev/zero of=$disk bs=4K count=8 oflag=direct status=none", {
    disk: device.path,
  });
  assertEquals(count(disk, "fuaWrites"), 0);
  await sh("dd if=/dev/zero of=$disk bs=4K count=8 oflag=direct,dsync conv=notrunc status=none", {
    disk: device.path,
  });
  assertEquals(count(disk, "fuaWrites"), 8);
});

Deno.test("serve() + backend without fua + O_DSYNC is a write and a flush", async () => {
  const disk = watched(4 * MIB);
  const backend = counting(disk, "single", { methods: "flush" });
  await using device = await serve({ backend });
  assertEquals(await queueAttribute(device, "fua"), "0");
  await sh("dd if=/dev/zero of=$disk bs=4K count=8 oflag=direct,dsync status=none", {
    disk: device.path,
  });
  assertEquals(count(disk, "fuaWrites"), 0);
  assert(count(disk, "flushes") >= 8, `${count(disk, "flushes")} flushes`);
});

Deno.test("serve() + backend of reads and writes only + nothing else is advertised, and all works", async () => {
  const disk = watched(4 * MIB);
  new Uint8Array(disk.contents).fill(7);
  await using device = await serve({ backend: counting(disk, "single", { methods: "" }) });
  assertEquals(await queueAttribute(device, "write_cache"), "write through");
  assertEquals(await queueAttribute(device, "discard_max_bytes"), "0");
  assertEquals(await queueAttribute(device, "write_zeroes_max_bytes"), "0");
  const discarded = await attempt("blkdiscard $disk", { disk: device.path });
  assertStringIncludes(discarded.stderr, "not supported");
  // fsync needs no flush then, and the kernel writes zeroes where the backend has none to give.
  await sh("xfs_io -c fsync $disk; blkdiscard -z -l 1M $disk", { disk: device.path });
  const { flushes, writeZeroes, bytesWritten } = device.stats().total;
  assertEquals({ flushes, writeZeroes, bytesWritten }, {
    flushes: 0,
    writeZeroes: 0,
    bytesWritten: MIB,
  });
  assert(new Uint8Array(disk.contents, 0, MIB).every((byte) => byte === 0));
  assertEquals(new Uint8Array(disk.contents)[MIB], 7);
});

for (const direct of [true, false]) {
  const path = direct ? "get-data" : "copy";
  Deno.test(`memory() + ${path} + a discard frees memory and reads as zeroes`, async () => {
    // Few tags: on the copying path each keeps a buffer of its own.
    await using device = await serve({ backend: memory("64MiB", { direct }), depth: 8 });
    // A Worker of the test before may still hold its memory.
    await settled();
    // Wide margins: the collector gives and takes some MiB of its own meanwhile.
    const empty = residentBytes();
    await sh(
      "head -c 64M /dev/zero | tr '\\0' x | dd of=$disk bs=1M oflag=direct iflag=fullblock " +
        "status=none",
      { disk: device.path },
    );
    const full = residentBytes();
    // V8 gives memory back meanwhile too, so it is not to the byte.
    assertGreater(full - empty, 48 * MIB);
    // All but the first and the last MiB, and at its end not a whole page.
    await sh(
      `
      blkdiscard -o 1M -l ${62 * MIB - 512} $disk
      cmp -n ${62 * MIB - 4096} /dev/zero -i 0:1M $disk
      cmp -n 1M <(yes x | tr -d '\\n') $disk
      cmp -n 1M <(yes x | tr -d '\\n') $disk -i 0:63M
      `,
      { disk: device.path },
    );
    assertLess(residentBytes() - empty, 24 * MIB);
    assert(device.stats().total.discards >= 1);
  });
}

Deno.test("memory() + 64 GiB + what is never written takes no memory", async () => {
  await settled();
  const before = residentBytes();
  const backend = memory("64GiB", { overcommit: true });
  await using device = await serve({ backend });
  await sh(
    `
    cmp -n 32M /dev/zero <(dd if=$disk bs=1M count=32 skip=40960 iflag=direct status=none)
    mkfs.ext4 -q -O ^has_journal -E nodiscard $disk
    fsck.ext4 -fn $disk > /dev/null 2>&1
    `,
    { disk: device.path },
  );
  assertLess(residentBytes() - before, 100 * MIB);
});

Deno.test("memory() + write-zeroes + zeroes, freeing memory where it may", async () => {
  await using device = await serve({ backend: memory("16MiB") });
  await sh(
    `
    { yes || true; } | dd of=$disk bs=1M count=16 iflag=fullblock oflag=direct status=none
    blkdiscard -z -o 512 -l 8191488 $disk
    xfs_io -d -c "fzero 8M 4096" -c "fpunch 10M 1M" $disk
    zero() { cmp -n $2 /dev/zero <(dd if=$disk bs=512 skip=$(($1 / 512)) iflag=direct status=none); }
    zero 512 8191488; zero 8388608 4096; zero 10485760 1048576
    # What lies next to it has kept its data.
    for at in 0 8192000 8392704 9437184 11534336; do
      cmp -n 512 <(yes) <(dd if=$disk bs=512 count=1 skip=$((at / 512)) iflag=direct status=none)
    done
    `,
    { disk: device.path },
  );
  assert(device.stats().total.writeZeroes >= 3, "asked of the backend, not written by the kernel");
});

Deno.test("serve() + write-zeroes + says whether the space may be given back", async () => {
  const disk = watched(4 * MIB);
  await using device = await serve({ backend: counting(disk, "single") });
  const seen = () => [count(disk, "zeroesNoUnmap"), count(disk, "zeroesMayUnmap")];
  await sh("blkdiscard -z -l 64K $disk", { disk: device.path });
  assertEquals(seen(), [1, 0]);
  await sh("xfs_io -d -c 'fpunch 0 64K' $disk", { disk: device.path });
  assertEquals(seen(), [1, 1]);
  assertEquals(count(disk, "writes"), 0);
});

Deno.test("serve() + readOnly + refuses writes, discards and zeroes, and reads", async () => {
  for (const inBackend of [true, false]) {
    const backend = memory("4MiB", { readOnly: inBackend });
    await using device = await serve({ backend, readOnly: !inBackend });
    assertEquals(device.info().readOnly, true);
    assertEquals(await sh("blockdev --getro $disk", { disk: device.path }), "1");
    for (
      const write of [
        "dd if=/dev/zero of=$disk bs=4K count=1 oflag=direct conv=notrunc",
        "dd if=/dev/zero of=$disk bs=4K count=1 conv=notrunc,fsync",
        "blkdiscard $disk",
        "blkdiscard -z $disk",
      ]
    ) {
      const { code, stderr } = await attempt(write, { disk: device.path });
      assert(code !== 0, `${write} is refused`);
      assert(/not permitted|Read-only|Permission denied|not supported/.test(stderr), stderr);
    }
    await sh("dd if=$disk bs=64K count=4 iflag=direct status=none | cmp -n 256K - /dev/zero", {
      disk: device.path,
    });
    const { writes, discards, writeZeroes } = device.stats().total;
    assertEquals({ writes, discards, writeZeroes }, { writes: 0, discards: 0, writeZeroes: 0 });
  }
});

for (const [blockSize, maxIoBytes] of [[512, 4096], [1024, 64 << 10], [4096, MIB]]) {
  Deno.test(`serve() + blocks of ${blockSize}, requests up to ${maxIoBytes} + sysfs says so and no request is larger`, async () => {
    const disk = watched(8 * MIB);
    const backend = counting(disk, "single", { blockSize });
    await using device = await serve({ backend, maxIoBytes });
    assertEquals(device.info().maxIoBytes, maxIoBytes);
    assertEquals(await queueAttribute(device, "logical_block_size"), `${blockSize}`);
    assertEquals(await queueAttribute(device, "physical_block_size"), "4096");
    assertEquals(await queueAttribute(device, "max_hw_sectors_kb"), `${maxIoBytes / 1024}`);
    await sh(
      `
      dd if=/dev/urandom of=$data bs=4M count=1 iflag=fullblock status=none
      dd if=$data of=$disk bs=4M oflag=direct status=none
      cmp -n 4M $data $disk
      rm $data
      `,
      { disk: device.path, data: await Deno.makeTempFile() },
    );
    assertEquals(count(disk, "largest"), maxIoBytes);
    assertEquals(count(disk, "unaligned"), 0);
    // A buffer of huge pages may be cut once more.
    assertLess(count(disk, "writes"), 4 * MIB / maxIoBytes + 3);
  });
}
