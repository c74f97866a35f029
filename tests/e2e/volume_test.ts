/**
 * Volumes as disks, by the command, as docs/ublk-volume.md shows it: filesystems in them survive
 * servers that detach, are killed, and are followed by others.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { assertOneLine } from "../integration/_run_command.ts";
import { deleteAll, nodes } from "./_command.ts";
import { Dice } from "../../uapi/dice.ts";
import { eachSeed } from "../seeds.ts";
import { sh } from "./_disk.ts";
import { attach, place, right, ublk, volume } from "./_volumes.ts";

Deno.test("a volume is made, attached, detached and attached again, with what was in it", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "192M", ...at.store));
  const { path } = await attach("db", ...at.both, "--journal-size", "64M");
  await sh(
    `mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m
     head -c 9M /dev/urandom > $at/m/file; sync -f $at/m; sha256sum $at/m/file > $at/sum
     fio --name=verify --filename=$at/m/fio --size=4M --rw=randwrite --bs=4k --iodepth=16 \\
       --ioengine=libaio --direct=1 --verify=crc32c --output=/dev/null
     echo 3 > /proc/sys/vm/drop_caches; sha256sum --quiet -c $at/sum
     fstrim $at/m; sha256sum --quiet -c $at/sum; umount $at/m`,
    { disk: path, at: at.path },
  );
  assertMatch(await right(ublk("list")), /\bdb\b/);
  await right(volume("detach", "db"));
  assertEquals(nodes(), []);
  // Detached in order, it needs no journal.
  await Deno.remove(`${at.fs}/journal`, { recursive: true });
  const again = await attach("db", ...at.both);
  await sh(
    `fsck.ext4 -fn $disk > /dev/null 2>&1; mount $disk $at/m
     sha256sum --quiet -c $at/sum; umount $at/m`,
    { disk: again.path, at: at.path },
  );
  await right(volume("detach", "-n", `${again.id}`));
  const sound = await volume("check", "db", ...at.both);
  assertEquals([sound.code, sound.stderr], [0, ""]);
});

/** How often the disk below a filesystem has been told to flush its cache. */
async function flushes(fs: string): Promise<number> {
  const stat = await sh("cat /sys/block/$(basename $(findmnt -no SOURCE $fs))/stat", { fs });
  // Documentation/block/stat.rst: the sixteenth is "flush I/Os".
  return Number(stat.trim().split(/ +/)[15]);
}

Deno.test("a volume with four queues: each fsync reaches the journal's disk, and fio verifies", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "64M", ...at.store));
  // Half of what is written: segments are drained, handed over and used again under the load.
  const { path } = await attach("db", ...at.both, "--journal-size", "16M", "-q", "4");
  const before = await flushes(at.fs);
  const count = 20;
  await sh(
    `for n in $(seq $count); do
       dd if=/dev/urandom of=$disk bs=4k count=1 seek=$n oflag=direct conv=notrunc,fsync status=none
     done`,
    { disk: path, count: `${count}` },
  );
  const reached = await flushes(at.fs) - before;
  assert(reached >= count, `${count} times fsync, ${reached} flushes`);
  await sh(
    `fio --name=verify --filename=$disk --size=8M --offset_increment=16M --numjobs=4 \\
       --rw=randwrite --bsrange=4k-64k --iodepth=8 --ioengine=libaio --direct=1 --fsync=16 \\
       --verify=crc32c --group_reporting --output=/dev/null`,
    { disk: path },
  );
  await right(volume("detach", "db"));
});

Deno.test("a volume with a cache reads what its store had, also after its server was killed", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "64M", ...at.store));
  const flags = ["db", ...at.both, "--journal-size", "64M"];
  const first = await attach(...flags);
  await sh(
    `head -c 14M /dev/urandom > $at/data; dd if=$at/data of=$disk bs=1M oflag=direct status=none
     cat $disk | sha256sum > $at/sum`,
    { disk: first.path, at: at.path },
  );
  await right(volume("detach", "db"));
  const cache = ["--cache", "80M", "--cache-dir", `${at.fs}/caches`];
  const second = await attach(...flags, ...cache);
  await sh("dd if=$disk bs=1M iflag=direct status=none | sha256sum -c $at/sum > /dev/null", {
    disk: second.path,
    at: at.path,
  });
  Deno.kill(second.pid, "SIGKILL");
  await right(ublk("del", `${second.id}`));
  // The cache alone has them now.
  await sh("mv $fs/store/db/chunks $fs/chunks", { fs: at.fs });
  const third = await attach(...flags, ...cache);
  await sh(
    `dd if=$disk bs=1M iflag=direct status=none | sha256sum -c $at/sum > /dev/null
     fio --name=read --filename=$disk --rw=randread --bs=4k --iodepth=32 --ioengine=libaio \\
       --direct=1 --size=14M --number_ios=1000 --output=/dev/null`,
    { disk: third.path, at: at.path },
  );
  await right(volume("detach", "db"));
});

Deno.test("no answered write is lost by a server that is killed under a mounted filesystem", async (t) => {
  await using at = await place();
  await right(volume("create", "db", "--size", "128M", ...at.store));
  let { id, pid, path } = await attach(
    ...["db", ...at.both, "--journal-size", "64M", "-r", "reissue", "-q", "2"],
  );
  await sh(
    `mkfs.xfs -q $disk 2> /dev/null || mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m
     touch $at/sums`,
    { disk: path, at: at.path },
  );
  // Each round kills the server at another moment of the load.
  await eachSeed(t, 5, async (round) => {
    const slot = `${round % 5}`;
    const busy = sh(
      `sed -i "/m.$slot[.]/d" $at/sums
       for n in $(seq 40); do
         head -c 128K /dev/urandom > $at/m/$slot.$n; sha256sum $at/m/$slot.$n >> $at/sums
       done; sync -f $at/m`,
      { at: at.path, slot },
    ).catch((error) => error as Error);
    await new Promise((resolve) => setTimeout(resolve, new Dice(round).draw(1000)));
    Deno.kill(pid, "SIGKILL");
    ({ pid } = JSON.parse(await right(ublk("recover", "--json", `${id}`))));
    const failure = await busy;
    if (failure instanceof Error) {
      throw new Error(`${failure.message}\n${await Deno.readTextFile(`/run/ublk/${id}.log`)}`);
    }
    await sh("echo 3 > /proc/sys/vm/drop_caches; sha256sum --quiet -c $at/sums", { at: at.path });
    // A guest that prints nothing for long is taken for dead.
    if (round % 5 === 0) console.log(`killed ${round} times`);
  });
  await sh("umount $at/m", { at: at.path });
  // Once more without anybody who reissues: what was synced is there.
  Deno.kill(pid, "SIGKILL");
  await right(ublk("del", `${id}`));
  const next = await attach("db", ...at.both);
  await sh("mount $disk $at/m; sha256sum --quiet -c $at/sums; umount $at/m", {
    disk: next.path,
    at: at.path,
  });
  const info = JSON.parse(await right(volume("info", "db", "--json", ...at.store)));
  assert(info.attached);
});

// tests/integration/volume_refusals_test.ts has what needs no device.
Deno.test("what goes wrong with an attached volume is said in one line", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "64M", ...at.store));
  const { id, pid } = await attach("db", ...at.both, "--journal-size", "64M");
  assertOneLine(await volume("attach", "db", ...at.both), 1, /another process uses it/);
  Deno.kill(pid, "SIGKILL");
  await right(ublk("del", `${id}`));
  assertOneLine(
    await volume("attach", "db", ...at.store, "--journal", `${at.fs}/other`),
    1,
    /its journal is not in .*\/other\/db.*attach without the journal/,
  );
  assertOneLine(await volume("rm", "db", ...at.store), 1, /has it open, or has died with it open/);
  const lost = await volume(
    ...["attach", "db", ...at.store, "--journal", `${at.fs}/other`, "--journal-size", "64M"],
    "--without-journal",
  );
  assertEquals(lost.code, 0);
  assertMatch(lost.stderr, /^ublk: warning: volume db goes on without its journal: .*\n$/);
  await right(volume("detach", "db"));
});

Deno.test("what a volume counts is true, wherever it is shown", async () => {
  await using at = await place();
  const MIB = 1 << 20;
  const socket = "/run/ublk/volume-metrics.sock";
  await right(volume("create", "db", "--size", "192M", ...at.store));
  assertOneLine(await volume("stats", "db"), 1, /no server here has it attached; attach it, or/);
  const { id, path: disk } = await attach(
    ...["db", ...at.both, "--journal-size", "64M", "--metrics", `unix:${socket}`],
  );
  const counted = async () => JSON.parse(await right(volume("stats", "db", "--json")));
  /** Looks until something is so, which another thread brings about. */
  const seen = async (isSo: (counted: Record<string, number>) => boolean) => {
    let found = await counted();
    for (let look = 0; !isSo(found); look++) {
      assert(look < 60, `it is not so: ${JSON.stringify(found)}`);
      found = await counted();
    }
    return found;
  };
  const before = await counted();
  assertEquals([before.path, before.writtenBytes, before.commits], [disk, 0, 0]);
  assertEquals(before.journalSizeBytes, 64 * MIB);
  await sh(
    "dd if=/dev/urandom of=$disk bs=64K count=128 oflag=direct conv=fsync status=none",
    { disk },
  );
  await right(volume("sync", "db", ...at.both));
  const stored = await seen(({ lagBytes }) => lagBytes === 0);
  assertEquals([stored.writtenBytes, stored.lagSeconds, stored.journalBytes], [8 * MIB, 0, 0]);
  // A batch has a header of a page or two. Here a write is one as a rule, or a part of one.
  const perWrite = stored.journalWrittenBytes / 128;
  assert(perWrite > 64 << 10 && perWrite < 72 << 10, `${perWrite} bytes for each write of 64 KiB`);
  const folder = `${at.fs}/store/db/chunks`;
  const chunks = [...Deno.readDirSync(folder)].map(({ name }) =>
    Deno.statSync(`${folder}/${name}`)
  );
  assertEquals(stored.chunkWrittenBytes, chunks.reduce((sum, { size }) => sum + size, 0));
  assert(stored.commits >= 1 && stored.storeAmplification > 1);
  await sh(
    `dd if=$disk of=/dev/null bs=1M count=16 iflag=direct status=none
     blkdiscard -l 4M $disk`,
    { disk },
  );
  const [{ total, backend }] = JSON.parse(await right(ublk("stats", "--json", `${id}`)));
  const { chunkReadBytes, holeReadBytes, journalReadBytes, trimmedBytes } = backend.counters;
  // The kernel looks for partitions, too, and reads ahead.
  assert(chunkReadBytes >= 8 * MIB && holeReadBytes >= 8 * MIB);
  assertEquals(chunkReadBytes + holeReadBytes + journalReadBytes, total.bytesRead);
  assertEquals([trimmedBytes, total.bytesDiscarded], [4 * MIB, 4 * MIB]);
  // The others show the same.
  assertEquals([backend.name, backend.counters.writtenBytes], ["volume", total.bytesWritten]);
  assertMatch(
    await right(ublk("stats", `${id}`)),
    /^ volume +journal: .*\n(.*\n)*.*written: +8 MiB$/m,
  );
  assertMatch(
    await right(ublk("top", "--iterations", "1", `${id}`)),
    /^ volume +journal .*, lag /m,
  );
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path: socket } });
  const metrics = await (await fetch("http://localhost/metrics", { client })).text();
  assertMatch(
    metrics,
    RegExp(`^ublk_volume_written_bytes_total{device="ublkb${id}"} ${8 * MIB}$`, "m"),
  );
  // A store that is away lags behind, by more and more, until it is back.
  await right(volume("sync", "db", ...at.both));
  await seen(({ lagBytes }) => lagBytes === 0);
  await sh(
    `mv $at/store $at/away
     dd if=/dev/urandom of=$disk bs=64K count=16 oflag=direct status=none`,
    { at: at.fs, disk },
  );
  const away = await seen(({ storeFailures }) => storeFailures > 0);
  assertEquals([away.writtenBytes, away.lagBytes], [9 * MIB, MIB]);
  assert(away.journalBytes > MIB && away.lagSeconds > 0);
  assert((await counted()).lagSeconds > away.lagSeconds);
  await sh("mv $at/away $at/store", { at: at.fs });
  const back = await seen(({ lagBytes }) => lagBytes === 0);
  assertEquals([back.lagSeconds, back.commits > away.commits], [0, true]);
  await right(volume("detach", "db"));
});

Deno.test("a volume where a newcomer's is: under /var/lib/ublk", async () => {
  await using at = await place();
  await sh("mkdir -p /var/lib/ublk; mount --bind $at /var/lib/ublk", { at: at.fs });
  try {
    await right(volume("create", "db", "--size", "10G"));
    const { path } = await attach("db");
    await sh("mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m; echo hello > $at/m/hello", {
      disk: path,
      at: at.path,
    });
    await right(volume("resize", "db", "12G"));
    await sh(
      "resize2fs $disk > /dev/null 2>&1; test $(blockdev --getsize64 $disk) = $((12 << 30))",
      { disk: path },
    );
    await right(volume("sync", "db"));
    // It is in use.
    assertOneLine(await volume("detach", "db"), 1, /mounted/);
    await sh("umount $at/m", { at: at.path });
    await right(volume("detach", "db"));
    assertMatch(await right(volume("ls")), /^NAME .*\ndb +12 GiB/);
    const again = await attach("db", "-r", "reissue");
    await sh("mount $disk $at/m; grep hello $at/m/hello; umount $at/m", {
      disk: again.path,
      at: at.path,
    });
    await right(volume("detach", "db"));
    await right(volume("resize", "db", "13G"));
    assertOneLine(await volume("resize", "db", "1G"), 2, /there is data beyond the new end/);
    await right(volume("rm", "db"));
    assertEquals(await right(volume("ls", "--noheadings")), "");
  } finally {
    await deleteAll();
    await sh("umount /var/lib/ublk");
  }
});
