/**
 * An engine on a real kernel: a RAM disk whose writes are answered by appends to a log.
 *
 * @module
 */

import { assert, assertEquals, assertGreater } from "@std/assert";
import { serve, type Stats, stats } from "../../mod.ts";
import { ECANCELED, ETIME } from "../../uapi/errno.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { type Counts, logged, STUCK_AT } from "../backends/engine.ts";
import { programPath } from "../bundles.ts";
import { tutorialFolder } from "../tutorial.ts";
import { sh } from "./_disk.ts";
import { run } from "./_misbehaving.ts";

openAllOfLibc();

const SIZE = 32 << 20;

/** fio writes a disk in random order, syncs it now and then, and verifies it. */
async function verify(path: string, ...words: string[]): Promise<void> {
  const { code, stdout, stderr } = await run(
    "fio",
    "--name=verify",
    `--filename=${path}`,
    "--rw=randwrite",
    "--bsrange=512-256k",
    "--bs_unaligned=0",
    "--blockalign=512",
    "--direct=1",
    "--ioengine=libaio",
    "--iodepth=32",
    "--verify=crc32c",
    "--fsync=32",
    ...words,
  );
  assertEquals(code, 0, stdout + stderr);
}

/** A log in a folder of its own, and what the engine over it has counted once it is closed. */
function scratchLog(): { path: string; counts: () => Counts } & Disposable {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/log`;
  return {
    path,
    counts: () => JSON.parse(Deno.readTextFileSync(`${path}.json`)),
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

for (const dataPath of ["copy", "get-data", "user-copy"] as const) {
  Deno.test(`serve() + an engine with 2 queues and ${dataPath} + fio verifies it, writes and flushes share operations`, async () => {
    using log = scratchLog();
    let requests: Stats;
    {
      await using device = await serve({ backend: logged(log.path, SIZE), queues: 2, dataPath });
      assertEquals([device.info().queues, device.info().dataPath], [2, dataPath]);
      await verify(device.path, "--numjobs=2", "--size=16M", "--offset_increment=16M");
      await run("blkdiscard", "-z", "-l", "1M", device.path);
      requests = device.stats().total;
    }
    const { writes, flushes, errors } = requests;
    const { appends, syncs, wakes, timers } = log.counts();
    assertEquals(errors, 0);
    assert(flushes > 0 && syncs > 0 && syncs <= flushes, `${syncs} syncs, ${flushes} flushes`);
    assert(appends > 0 && appends < writes, `${appends} appends, ${writes} writes`);
    assertGreater(wakes, 0);
    // The second one was running when the disk ended.
    assertEquals(timers, [-ETIME, -ECANCELED]);
  });
}

Deno.test("serve() + a wrapper around an engine + its methods serve the disk", async () => {
  using log = scratchLog();
  {
    await using device = await serve({ backend: stats(logged(log.path, SIZE)), queues: 2 });
    await verify(device.path, "--size=4M");
  }
  assertEquals(log.counts(), { appends: 0, syncs: 0, wakes: 0, timers: [] });
});

Deno.test("serve() + an engine whose read never ends + the device stops, and its reader gets EIO", async () => {
  using log = scratchLog();
  const fifo = `${log.path}.fifo`;
  await run("mkfifo", fifo);
  let reader: ReturnType<typeof run>;
  {
    await using device = await serve({ backend: logged(log.path, SIZE, fifo) });
    const skip = `skip=${STUCK_AT / 4096}`;
    const words = [`if=${device.path}`, "of=/dev/null", "bs=4k", "count=1", "iflag=direct", skip];
    reader = run("dd", ...words);
    // Other requests are answered in the meantime.
    while (device.stats().total.writes < 10) {
      const zeroes = ["if=/dev/zero", `of=${device.path}`, "bs=4k", "count=10", "oflag=direct"];
      assertEquals((await run("dd", ...zeroes)).code, 0);
    }
  }
  const { code, stderr } = await reader;
  assertEquals([code, /Input\/output error/.test(stderr)], [1, true]);
  assertGreater(log.counts().appends, 0);
});

Deno.test("docs/writing-engines.md + logged.ts: a filesystem on it survives its server", async () => {
  const folder = await tutorialFolder("docs/writing-engines.md");
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const program = programPath("cmd/ublk.ts");
  const said = await sh(
    `cd $folder
     ublk() { ${Deno.execPath()} run -A --no-check --config ${config} ${program} "$@"; }
     trap 'umount mount 2> /dev/null || true; ublk del -a' EXIT
     ublk add -t ./logged.ts --size 64M disk.log > added
     pid=$(grep -o 'pid [0-9]*' added | cut -d ' ' -f 2)
     mkfs.ext4 -q /dev/ublkb0
     mkdir mount && mount -t ext4 /dev/ublkb0 mount
     head -c 5M /dev/urandom > plan
     cp plan mount/plan && sync -f mount/plan && umount mount
     kill -9 $pid
     while kill -0 $pid 2> /dev/null; do sleep 0.2; done
     ublk add -t ./logged.ts --size 64M disk.log > again
     # The number of the one whose server is dead may not be free yet.
     disk=/dev/ublkb$(grep -o 'dev id [0-9]*' again | cut -d ' ' -f 3)
     fsck.ext4 -fn $disk > checked 2>&1 || cat again checked >&2
     mount -t ext4 -o ro $disk mount
     cmp plan mount/plan && echo same
     umount mount`,
    { folder },
  );
  assertEquals(said, "same");
  await Deno.remove(folder, { recursive: true });
});
