/**
 * Volumes as disks, by the command: filesystems in them survive servers that detach, are killed, and
 * are followed by others. As README.md and docs/ublk-volume.md
 * have it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { assertOneLine, runCommand } from "../integration/_run_command.ts";
import { deleteAll, nodes } from "./_command.ts";
import { attempt, sh, temporaryFolder } from "./_disk.ts";

const volume = (...args: string[]) => runCommand("ublk-volume", args);
const ublk = (...args: string[]) => runCommand("ublk", args);

/**
 * A folder with a store and a journal on an ext4 of their own, which can bypass the page cache, and
 * the flags that name them.
 */
async function place() {
  const folder = await temporaryFolder();
  const at = `${folder.path}/ext4`;
  await sh("truncate -s 4G $at.img; mkfs.ext4 -q $at.img; mkdir $at; mount -o loop $at.img $at", {
    at,
  });
  const store = ["--store", `${at}/store`];
  return {
    path: folder.path,
    fs: at,
    store,
    both: [...store, "--journal", `${at}/journal`],
    async [Symbol.asyncDispose]() {
      await attempt("umount -l $at/m", { at: folder.path });
      await deleteAll();
      await sh("umount $at", { at });
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function right(running: ReturnType<typeof volume>): Promise<string> {
  const { code, stdout, stderr } = await running;
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

/** Attaches a volume, and returns the process that serves it. */
async function attach(...args: string[]): Promise<{ id: number; pid: number; path: string }> {
  return JSON.parse(await right(volume("attach", "--json", ...args)));
}

Deno.test("a volume is made, attached, detached and attached again, with what was in it", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "192M", ...at.store));
  const { path } = await attach("db", ...at.both, "--journal-size", "64M");
  await sh(
    `mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m
     head -c 20M /dev/urandom > $at/m/file; sync -f $at/m; sha256sum $at/m/file > $at/sum
     fio --name=verify --filename=$at/m/fio --size=16M --rw=randwrite --bs=4k --iodepth=16 \\
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

Deno.test("a volume with a cache reads what its store had, also after its server was killed", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "64M", ...at.store));
  const flags = ["db", ...at.both, "--journal-size", "64M"];
  const first = await attach(...flags);
  await sh(
    `head -c 40M /dev/urandom > $at/data; dd if=$at/data of=$disk bs=1M oflag=direct status=none
     cat $disk | sha256sum > $at/sum`,
    { disk: first.path, at: at.path },
  );
  await right(volume("detach", "db"));
  const cache = ["--cache", "96M", "--cache-dir", `${at.fs}/caches`];
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
     fio --name=read --filename=$disk --rw=randread --bs=4k --iodepth=32 --ioengine=libaio \
       --direct=1 --size=40M --number_ios=3000 --output=/dev/null`,
    { disk: third.path, at: at.path },
  );
  await right(volume("detach", "db"));
});

Deno.test("no answered write is lost by a server that is killed under a mounted filesystem", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "128M", ...at.store));
  let { id, pid, path } = await attach(
    ...["db", ...at.both, "--journal-size", "64M", "-r", "reissue", "-q", "2"],
  );
  await sh("mkfs.xfs -q $disk 2> /dev/null || mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m", {
    disk: path,
    at: at.path,
  });
  for (let round = 0; round < 5; round++) {
    const busy = sh(
      `for n in $(seq 40); do
         head -c 256K /dev/urandom > $at/m/$round.$n; sha256sum $at/m/$round.$n >> $at/sums
       done; sync -f $at/m`,
      { at: at.path, round: `${round}` },
    );
    await new Promise((resolve) => setTimeout(resolve, 100 + 150 * round));
    Deno.kill(pid, "SIGKILL");
    ({ pid } = JSON.parse(await right(ublk("recover", "--json", `${id}`))));
    await busy;
  }
  await sh(
    `echo 3 > /proc/sys/vm/drop_caches; sha256sum --quiet -c $at/sums; umount $at/m`,
    { at: at.path },
  );
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

Deno.test("what goes wrong with a volume is said in one line", async () => {
  await using at = await place();
  assertOneLine(
    await volume("attach", "db", ...at.both),
    1,
    /^ublk-volume: error: .*\/store: there is no such folder; make the folder/,
  );
  await right(volume("create", "db", "--size", "64M", ...at.store));
  assertOneLine(
    await volume("create", "db", "--size", "64M", ...at.store),
    1,
    /has a volume of that name; choose another name/,
  );
  assertOneLine(await volume("attach", "dc", ...at.both), 1, /no volume of that name/);
  assertOneLine(await volume("attach", "../db", ...at.both), 2, /is no name of a volume/);
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
