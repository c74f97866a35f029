/**
 * Zoned disks, as `blkzone`, fio, btrfs and zonefs use them.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertMatch, assertRejects } from "@std/assert";
import {
  type BackendSpec,
  type DeviceOptions,
  serve,
  type ServedDevice,
  UblkError,
  zoned,
} from "../../mod.ts";
import { runCommand } from "../integration/_run_command.ts";
import { attempt, FIO, queueAttribute, sh, temporaryFolder, ublkNodes } from "./_disk.ts";
import { open as openLate } from "./_zoned_module.ts";
import { blkzone, conditionsOf, reportZones, zonefsSuperblock } from "./_zones.ts";

const MIB = 1 << 20;
const ZONE = 4 * MIB;
const HAS_BATCH = Number(Deno.osRelease().split(".")[0]) >= 7;

/** The same disk with Promises, in a Worker. */
function late(spec: BackendSpec): BackendSpec {
  return { ...spec, module: import.meta.resolve("./_zoned_module.ts") };
}

/** Writes 64 KiB past the page cache; returns dd's complaint, or "". */
async function write(device: ServedDevice, offsetBytes: number): Promise<string> {
  const { code, stderr } = await attempt(
    "dd if=/dev/zero of=$disk bs=64K count=1 seek=$seek oflag=direct conv=notrunc status=none",
    { disk: device.path, seek: `${offsetBytes / (64 << 10)}` },
  );
  assert((code === 0) === (stderr === ""), stderr);
  return stderr;
}

Deno.test("zoned() + tells the kernel what it is", async () => {
  const backend = zoned(16 * ZONE, { conventional: 2, maxOpen: 3, maxActive: 5 });
  await using device = await serve({ backend });
  const attributes = ["zoned", "chunk_sectors", "nr_zones", "max_open_zones", "max_active_zones"];
  const values = await Promise.all(attributes.map((name) => queueAttribute(device, name)));
  assertEquals(values, ["host-managed", "8192", "16", "3", "5"]);
  assertEquals(await queueAttribute(device, "zone_append_max_bytes"), `${512 << 10}`);
  assertEquals([device.info().dataPath], ["user-copy"]);
  const zones = await reportZones(device.path);
  assertEquals(zones.map(({ start, len }) => [start, len]), zones.map((_, i) => [i * 8192, 8192]));
  assertEquals(zones.map(({ condition }) => condition), ["nw", "nw", ...new Array(14).fill("em")]);
});

Deno.test("zoned() + more zones than one request can tell of + reports them all", async () => {
  // A request of 4096 bytes has room for 64 of them, and 200 are not a multiple of that. The kernel
  // has looked at all of them when the disk is there (`blk_revalidate_disk_zones`).
  const backend = zoned(200 * 65536, { zoneSize: 65536 });
  await using device = await serve({ backend, maxIoBytes: 4096 });
  assertEquals(await queueAttribute(device, "nr_zones"), "200");
  // Not at once: see docs/findings.md.
  for (let first = 0; first < 200; first += 50) {
    const zones = await reportZones(device.path, `--offset ${first * 128} --count 50`);
    assertEquals(
      zones.map(({ start, condition }) => [start, condition]),
      Array.from({ length: 50 }, (_, index) => [(first + index) * 128, "em"]),
    );
  }
});

for (const [kind, make] of [["synchronous", undefined], ["with Promises", late]] as const) {
  Deno.test(`zoned() ${kind} + blkzone opens, closes, finishes and resets`, async () => {
    const spec = zoned(6 * ZONE, { conventional: 1 });
    await using device = await serve({ backend: make?.(spec) ?? spec });
    const { path } = device;
    const zones = await reportZones(path);
    assertEquals(await blkzone("open", path, zones[1], 2), "");
    assertEquals(await write(device, 2 * ZONE), "");
    assertEquals(await write(device, 3 * ZONE), "");
    assertEquals(await conditionsOf(path), "nw oe oe oi em em");
    assertEquals(await blkzone("close", path, zones[1], 3), "");
    assertEquals(await conditionsOf(path), "nw em cl cl em em");
    assertEquals(await blkzone("finish", path, zones[2], 2), "");
    assertEquals(await conditionsOf(path), "nw em fu fu em em");
    assertEquals((await reportZones(path))[2].wptr, 8192);
    assertEquals(await blkzone("reset", path, zones[2]), "");
    assertEquals(await conditionsOf(path), "nw em em fu em em");
    assertEquals(await write(device, 2 * ZONE), "");
    assertEquals((await reportZones(path))[2].wptr, 128);
    await sh("blkzone reset $disk", { disk: path });
    assertEquals(await conditionsOf(path), "nw em em em em em");
    assertEquals(device.stats().total.errors, 0);
  });
}

Deno.test("zoned() + a write that is not at the write pointer + is EIO, and others go on", async () => {
  await using device = await serve({ backend: zoned(4 * ZONE) });
  assertEquals(await write(device, 0), "");
  assertMatch(await write(device, 128 << 10), /Input\/output error/);
  assertMatch(await write(device, 0), /Input\/output error/);
  // On 7.2 a zone in which a write has failed takes none until somebody asks for a report.
  assertEquals(await conditionsOf(device.path), "oi em em em");
  assertEquals(await write(device, 64 << 10), "");
  await sh("blkzone finish -o 0 -l 8192 $disk", { disk: device.path });
  assertMatch(await write(device, 192 << 10), /Input\/output error/);
  const zeroes = await sh(
    "dd if=$disk bs=64K iflag=direct count=64 status=none | tr -d '\\0' | wc -c",
    {
      disk: device.path,
    },
  );
  assertEquals(zeroes, "0");
});

Deno.test("zoned() + the limits of open and of active zones + have errnos of their own", async () => {
  const backend = zoned(6 * ZONE, { maxOpen: 1, maxActive: 2 });
  await using device = await serve({ backend });
  const zones = await reportZones(device.path);
  assertEquals(await blkzone("open", device.path, zones[0]), "");
  // ETOOMANYREFS
  assertMatch(await blkzone("open", device.path, zones[1]), /Too many references/);
  assertMatch(await write(device, ZONE), /Too many references/);
  assertEquals(await conditionsOf(device.path), "oe em em em em em");
  assertEquals(await write(device, 0), "");
  assertEquals(await blkzone("close", device.path, zones[0]), "");
  assertEquals(await write(device, ZONE), "");
  // EOVERFLOW
  assertMatch(await write(device, 2 * ZONE), /Value too large/);
  assertEquals(await conditionsOf(device.path), "cl oi em em em em");
  // The open one makes room for the closed one.
  assertEquals(await write(device, 64 << 10), "");
  assertEquals(await conditionsOf(device.path), "oi cl em em em em");
});

const WAYS: [name: string, options: Partial<DeviceOptions>][] = [
  ["one command per request, two queues", { queues: 2 }],
  ["batch", { batch: true, queues: 2 }],
];

for (const [name, options] of WAYS) {
  if (options.batch && !HAS_BATCH) {
    Deno.test(`zoned() + ${name} + is refused in one line`, async () => {
      const backend = zoned(16 * ZONE);
      const error = await assertRejects(() => serve({ backend, ...options }), UblkError);
      assertEquals([error.code, error.message.includes("\n")], ["KERNEL_TOO_OLD", false]);
    });
    continue;
  }

  Deno.test(`zoned() + ${name} + fio --zonemode=zbd reads what it wrote`, async () => {
    const backend = zoned(16 * ZONE, { conventional: 2, maxOpen: 4 });
    await using device = await serve({ backend, ...options });
    const job = `${FIO} --filename=$disk --zonemode=zbd --bs=32k --iodepth=8 --verify=crc32c ` +
      `--offset=${2 * ZONE} --size=${8 * ZONE} --io_size=${6 * ZONE} --max_open_zones=4`;
    await sh(`${job} --rw=randwrite --verify_backlog=64 > /dev/null`, { disk: device.path });
    const { total } = device.stats();
    assertGreater(total.bytesWritten, 5 * ZONE);
    assertGreater(total.bytesRead, 5 * ZONE);
    assertEquals(total.errors, 0);
  });

  Deno.test(`zoned() + ${name} + btrfs lives on it, by appends`, async () => {
    await using folder = await temporaryFolder();
    const backend = zoned(64 * ZONE);
    await using device = await serve({ backend, ...options });
    await sh(
      `
      trap 'umount $mount 2> /dev/null || true' EXIT
      modprobe btrfs
      mkdir $mount
      mkfs.btrfs -q -O zoned $disk
      mount -t btrfs $disk $mount
      cp -r $sources /bin/bash $mount/
      head -c 6M /dev/urandom > $mount/random
      (cd $mount && find . -type f -print0 | sort -z | xargs -0 sha256sum) > $mount.sums
      umount $mount
      mount -t btrfs $disk $mount
      (cd $mount && sha256sum --quiet --check $mount.sums)
      rm -r $mount/random
      umount $mount
      btrfs check --readonly $disk > $mount.check 2>&1 || { cat $mount.check; exit 1; }
      `,
      {
        disk: device.path,
        mount: `${folder.path}/mount`,
        sources: new URL("../../queue", import.meta.url).pathname,
      },
    );
    const { total } = device.stats();
    assertGreater(total.zoneAppends, 10);
    assertGreater(total.bytesAppended, 6 * MIB);
    assertEquals(total.errors, 0);
  });
}

Deno.test("zoned() + zonefs + each zone is a file that grows at its end", async () => {
  await using folder = await temporaryFolder();
  await Deno.writeFile(`${folder.path}/super`, zonefsSuperblock());
  await using device = await serve({
    backend: late(zoned(8 * ZONE, { conventional: 2, maxOpen: 4 })),
  });
  await sh(
    `
    trap 'umount $folder/mount 2> /dev/null || true' EXIT
    modprobe zonefs
    cd $folder
    mkdir mount
    dd if=super of=$disk bs=4096 oflag=direct conv=notrunc status=none
    mount -t zonefs $disk mount
    test $(ls mount/cnv | wc -l) = 1
    test $(ls mount/seq | wc -l) = 6
    head -c 1M /dev/urandom > data
    for time in 1 2; do
      dd if=data of=mount/seq/3 bs=128K oflag=direct,append conv=notrunc status=none
    done
    cat data data | cmp - mount/seq/3
    test $(stat -c %s mount/seq/3) = ${2 * MIB}
    # Not at its end.
    if dd if=data of=mount/seq/3 bs=4096 count=1 oflag=direct conv=notrunc status=none; then
      exit 1
    fi
    truncate -s 0 mount/seq/3
    truncate -s ${ZONE} mount/seq/2
    umount mount
    `,
    { disk: device.path, folder: folder.path },
  );
  assertEquals(await conditionsOf(device.path), "nw nw em em fu em em em");
});

Deno.test("zoned() + an object in the caller's thread, paranoid + is zoned as well", async () => {
  const backend = openLate(zoned(4 * ZONE, { maxOpen: 2 }).options);
  await using device = await serve({ backend, paranoid: true });
  const job = `${FIO} --filename=$disk --zonemode=zbd --bs=64k --iodepth=4 --verify=crc32c ` +
    `--rw=randwrite --io_size=${ZONE} --max_open_zones=2`;
  await sh(`${job} > /dev/null`, { disk: device.path });
  await sh("blkzone reset $disk", { disk: device.path });
  assertEquals(await conditionsOf(device.path), "em em em em");
  assertEquals(device.stats().total.errors, 0);
});

Deno.test("zoned() + what does not go together with zones + is said in one line", async () => {
  const backend = zoned(4 * ZONE);
  const refused: [Partial<DeviceOptions>, RegExp][] = [
    [
      { dataPath: "copy" },
      /no data path "copy": zones are reported, and appended to, by user-copy/,
    ],
    [{ recovery: "reissue" }, /a zoned disk cannot be recovered/],
  ];
  for (const [options, words] of refused) {
    const error = await assertRejects(() => serve({ backend, ...options }), UblkError);
    assertMatch(error.message, words);
    assertEquals([error.code, error.message.includes("\n")], ["INVALID_ARGUMENT", false]);
  }
  assertEquals(ublkNodes(), []);
});

Deno.test("ublk add -t zoned + is as its options say, until it is deleted", async () => {
  const options = "--size 32M --zone-size 4M --conventional 1 --max-open 2 --max-active 3";
  const added = await runCommand("ublk", ["add", "-t", "zoned", ...options.split(" ")]);
  try {
    assertEquals([added.code, added.stderr], [0, ""]);
    const id = Number(/dev id (\d+)/.exec(added.stdout)![1]);
    const path = `/dev/ublkb${id}`;
    assertEquals(await conditionsOf(path), "nw em em em em em em em");
    const attributes = ["zoned", "max_open_zones", "max_active_zones"];
    const values = await Promise.all(attributes.map((name) => queueAttribute({ id }, name)));
    assertEquals(values, ["host-managed", "2", "3"]);
  } finally {
    assertEquals((await runCommand("ublk", ["del", "-a"])).code, 0);
  }
});
