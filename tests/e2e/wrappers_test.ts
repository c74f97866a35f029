/** Stacks of wrappers on a real kernel: filesystems in them, and what the kernel is told of them. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type BackendSpec,
  cache,
  cow,
  delay,
  error,
  file,
  memory,
  offset,
  partition,
  rate,
  readonly,
  serve,
  stats,
  UblkError,
} from "../../mod.ts";
import { runCommand } from "../integration/_run_command.ts";
import { kernelAnswer, ourAnswer, tableDisk } from "../partition_tables.ts";
import { sleep } from "./_command.ts";
import { attempt, sh, temporaryFolder } from "./_disk.ts";

const MIB = 1 << 20;

/** An image with an ext4, and a file in that. */
async function image(path: string): Promise<void> {
  await sh(
    `truncate -s 32M $path && mkfs.ext4 -q $path && mkdir $path.root &&
     cp /bin/bash $path.root/ && mke2fs -q -F -t ext4 -d $path.root $path`,
    { path },
  );
}

/** Adds a file to a filesystem, finds all that it is to have, and checks it. */
async function liveOn(disk: string, add: string, expected: string): Promise<void> {
  await using folder = await temporaryFolder();
  const found = await sh(
    `trap 'umount $mount 2> /dev/null || true' EXIT
     mkdir $mount && mount -t ext4 $disk $mount
     cmp /bin/bash $mount/bash
     cp /bin/bash $mount/$add && sync -f $mount/$add
     umount $mount && mount -t ext4 -o ro $disk $mount
     cd $mount && for copy in *[0-9]; do cmp /bin/bash $copy; done && echo *[0-9] && cd /
     umount $mount && fsck.ext4 -fn $disk > $mount.fsck 2>&1 || { cat $mount.fsck; exit 1; }`,
    { disk, mount: `${folder.path}/mount`, add },
  );
  assertEquals(found, expected);
}

const STACKS: Record<string, (base: string, over: string) => BackendSpec> = {
  "cow": (base, over) => cow(file(base, { readOnly: true }), { file: over }),
  "cache that writes back, and cow, and what is late": (base, over) =>
    cache(
      cow(delay(readonly(file(base, { readOnly: true })), { read: 1 }), { file: over }),
      { size: "1MiB", mode: "write-back" },
    ),
  "rate, and stats, and cow in small blocks": (base, over) =>
    stats(
      rate(cow(file(base, { readOnly: true }), { file: over, block: 4096 }), { iops: 5000 }),
      { file: `${over}.table` },
    ),
};

for (const [name, stack] of Object.entries(STACKS)) {
  Deno.test(`serve() + ${name} + keeps an ext4 over an image that stays as it is`, async () => {
    await using folder = await temporaryFolder();
    const [base, over] = [`${folder.path}/base`, `${folder.path}/over`];
    await image(base);
    const before = await sh("md5sum < $base", { base });
    for (const [copy, all] of [["copy1", "copy1"], ["copy2", "copy1 copy2"]]) {
      await using device = await serve({ backend: stack(base, over), queues: 2 });
      await liveOn(device.path, copy, all);
      assertEquals(device.stats().total.errors, 0);
    }
    assertEquals(await sh("md5sum < $base", { base }), before);
  });
}

Deno.test("stop() + a cache over a disk that refuses a block + all else is written, and that is named", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/disk`;
  await Deno.writeFile(path, new Uint8Array(MIB));
  const refusing = error(file(path), { ops: ["write"], range: "0-4K" });
  const device = await serve({ backend: cache(refusing, { size: "8MiB", mode: "write-back" }) });
  await sh(
    `head -c 64K /dev/zero | tr '\\0' A | dd of=$disk bs=4k iflag=fullblock oflag=direct status=none
     dd if=$disk of=/dev/null bs=4k count=32 iflag=direct status=none`,
    { disk: device.path },
  );
  const { message } = await assertRejects(() => device.stop(), UblkError);
  assertMatch(message, /4 KiB could not be written back and are lost: bytes 0-4096 /);
  assertEquals(await sh("tr -d '\\0' < $path | wc -c", { path }), "61440");
});

Deno.test("serve() + wrappers that only shift or forbid + data travels as if they were not there", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/disk`;
  await sh("truncate -s 16M $path && echo 'size=4M\nsize=4M' | sfdisk -q $path", { path });
  const plain = await serve({ backend: memory("16MiB") });
  const expected = plain.info().dataPath;
  await plain.stop();
  await using ram = await serve({ backend: offset(memory("16MiB"), { start: "1MiB" }), queues: 2 });
  assertEquals(ram.info().dataPath, expected);
  await using disk = await serve({ backend: partition(file(path), { number: 2 }) });
  for (const device of [ram, disk]) {
    await sh(
      `head -c 1M /dev/urandom > $folder/data
       dd if=$folder/data of=$disk bs=64k oflag=direct status=none
       dd if=$disk of=$folder/back bs=64k count=16 iflag=direct status=none
       cmp $folder/data $folder/back`,
      { disk: device.path, folder: folder.path },
    );
  }
  assertEquals(Number(await sh("blockdev --getsize64 $disk", { disk: disk.path })), 4 * MIB);
  const start = Number(
    await sh("sfdisk --json $path | grep -o '\"start\": *[0-9]*' | tail -1 | tr -dc 0-9", { path }),
  );
  await sh(
    "cmp <(dd if=$path bs=512 skip=$start count=2048 status=none) $folder/data",
    { path, start: `${start}`, folder: folder.path },
  );
});

Deno.test("serve() + readonly, error + the kernel refuses writes, and passes errors on", async () => {
  await using device = await serve({ backend: readonly(memory("16MiB")) });
  assertEquals(await sh("blockdev --getro $disk", { disk: device.path }), "1");
  await using faulty = await serve({
    backend: error(memory("16MiB"), { errno: "ENOSPC", ops: ["write"], range: "1M-2M" }),
  });
  const write = (seek: number) =>
    attempt("dd if=/dev/zero of=$disk bs=1M count=1 seek=$seek oflag=direct", {
      disk: faulty.path,
      seek: `${seek}`,
    });
  assertEquals((await write(0)).code, 0);
  const { code, stderr } = await write(1);
  assertEquals(code, 1);
  assertMatch(stderr, /No space left on device/);
});

Deno.test("ublk add --wrap cow + killed with -9, and recovered: nobody sees an error, nothing is lost", async () => {
  await using folder = await temporaryFolder();
  const [base, over] = [`${folder.path}/base`, `${folder.path}/over`];
  await sh("head -c 16M /dev/urandom > $base", { base });
  const ublk = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCommand("ublk", args);
    assertEquals([code, stderr], [0, ""], args.join(" "));
    return stdout;
  };
  const added = JSON.parse(
    await ublk(
      "add",
      "-t",
      "loop",
      "-r",
      "1",
      "-i",
      "1",
      "--json",
      "--wrap",
      `stats:${folder.path}/table`,
      "--wrap",
      `cow:${over}`,
      base,
    ),
  );
  try {
    const disk = added.path;
    // Not flushed: it must be there all the same, since nobody but the server has died.
    await sh(
      `cp $base $over.model
       head -c 3M /dev/urandom > $over.data
       dd if=$over.data of=$over.model bs=4k seek=77 conv=notrunc status=none
       dd if=$over.data of=$disk bs=4k seek=77 oflag=direct status=none`,
      { base, over, disk },
    );
    Deno.kill(added.pid, "SIGKILL");
    const endMs = performance.now() + 180_000;
    while (!(await ublk("list", "-n", `${added.id}`)).includes("state QUIESCED")) {
      assert(performance.now() < endMs, "the device waits for recovery");
      await sleep(50);
    }
    await ublk("recover", "-n", `${added.id}`);
    await sh("cmp <(dd if=$disk bs=1M iflag=direct status=none) $over.model", { disk, over });
  } finally {
    await ublk("del", "-n", `${added.id}`);
  }
  assertMatch(await Deno.readTextFile(`${folder.path}/table`), /^read +\d+ +16 MiB +0 /m);
});

Deno.test("partition + tables of many kinds + the kernel's own scan finds the same", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/table`;
  // Seeds that the answers recorded for the unit tests do not have.
  for (let seed = 1000; seed < 1020; seed++) {
    const disk = tableDisk(seed);
    await Deno.writeFile(path, disk.bytes);
    const blockSize = `${disk.blockSize}`;
    const loop = await sh("losetup -f --show -P -b $blockSize $path", { path, blockSize });
    try {
      assertEquals(await ourAnswer(disk), kernelAnswer(loop.slice("/dev/".length)), `${seed}`);
    } finally {
      await sh("losetup -d $loop", { loop });
    }
  }
});
