/**
 * Devices that outlive their servers: killed, quiesced, with work going on; and those that do not.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { cow, type DeviceOptions, file, memory, recover, serve, UblkError } from "../../mod.ts";
import { Control } from "../../ctrl/control.ts";
import {
  UBLK_F_BATCH_IO,
  UBLK_F_PER_IO_DAEMON,
  UBLK_F_QUIESCE,
  UBLK_F_USER_RECOVERY_FAIL_IO,
} from "../../uapi/features.ts";
import { UBLK_S_DEV_FAIL_IO, UBLK_S_DEV_LIVE, UBLK_S_DEV_QUIESCED } from "../../uapi/ublk_cmd.ts";
import { seedsOf } from "../seeds.ts";
import { failing } from "../backends/failing.ts";
import { attempt, sh, temporaryFolder, testWhere } from "./_disk.ts";
import { forget, idOf, ServerProcess, stateOf, untilState } from "./_recoverable.ts";

const MIB = 1 << 20;
const SIZE = 64 * MIB;

const FEATURES = await (async () => {
  await using control = await Control.open();
  return control.features;
})();

function disk(folder: { path: string }, options: Partial<DeviceOptions> = {}) {
  const backend = file(`${folder.path}/disk`, { create: true, size: SIZE });
  return { backend, recovery: "reissue", ...options } as DeviceOptions;
}

/** Starts a script that goes on by itself; `end` waits for it, and throws if it failed. */
function background(script: string, env: Record<string, string>): { end(): Promise<string> } {
  const result = attempt(script, env);
  return {
    async end() {
      const { code, stdout, stderr } = await result;
      assertEquals(code, 0, `${stdout}${stderr}`);
      return stdout;
    },
  };
}

/** A mounted ext4 with files that are written, synced and read back, until it is to stop. */
const BUSY = `
  trap 'umount $mount 2> /dev/null || true' EXIT
  mkdir $mount
  mount -t ext4 $disk $mount
  touch $mounted
  for round in $(seq 10000); do
    test ! -e $stop || break
    for name in $(seq 4); do
      head -c 65536 /dev/urandom > $mount/$name
      sha256sum $mount/$name >> $mount.sums.$round
    done
    sync -f $mount
    echo 3 > /proc/sys/vm/drop_caches
    sha256sum --quiet --check $mount.sums.$round
    touch $mounted.$round
  done
  umount $mount
  fsck.ext4 -fn $disk > $mount.fsck 2>&1 || { cat $mount.fsck; exit 1; }
`;

async function untilThere(path: string): Promise<void> {
  await sh('for i in $(seq 1800); do test -e "$path" && exit 0; sleep 0.1; done; exit 1', { path });
}

/**
 * How often the server is killed, or as often as `-- --seeds N` says. More on the older kernel, which
 * has one way of recovery and not four.
 */
const KILLS = seedsOf((FEATURES & UBLK_F_BATCH_IO) === 0 ? 10 : 4).length;

for (
  const [name, kills, options, needs] of [
    [`1 queue`, KILLS, {}, 0],
    ["2 queues, batch", 2, { queues: 2, batch: true }, UBLK_F_BATCH_IO],
    // A thread that only shares a queue was refused by a device in recovery if it came first.
    ["1 queue for 3 threads, batch", 2, { queues: 1, threads: 3, batch: true }, UBLK_F_BATCH_IO],
    [
      "per-I/O daemons",
      2,
      { queues: 2, threads: 3, perIoDaemons: true },
      UBLK_F_PER_IO_DAEMON,
    ],
  ] as [string, number, Partial<DeviceOptions>, number][]
) {
  // What the kernel says where it lacks it is in options_test.ts.
  if ((FEATURES & needs) !== needs) continue;
  Deno.test(`recover() + server killed ${kills} times under a busy ext4, ${name} + no user sees an error`, async () => {
    await using folder = await temporaryFolder();
    const made = disk(folder, options);
    let server = await ServerProcess.start({ options: made });
    const { path } = server;
    const id = idOf(path);
    try {
      await sh("mkfs.ext4 -q $disk", { disk: path });
      const mount = `${folder.path}/mount`;
      const mounted = `${folder.path}/mounted`;
      const stop = `${folder.path}/stop`;
      const work = background(BUSY, { disk: path, mount, mounted, stop });
      const { threads, perIoDaemons } = made;
      const task = { recover: id, options: { backend: made.backend, threads, perIoDaemons } };
      for (let kill = 1; kill <= kills; kill++) {
        // Somewhere in the midst of a round, which goes on only once somebody serves again.
        await untilThere(`${mounted}.${kill}`);
        await server.end("SIGKILL");
        server = await ServerProcess.start({ ...task });
        assertEquals(server.path, path);
        assertEquals(await stateOf(id), UBLK_S_DEV_LIVE);
      }
      await untilThere(`${mounted}.${kills + 1}`);
      await Deno.writeTextFile(stop, "");
      await work.end();
      await server.stop();
      assertEquals(await server.closed(), { reason: "deleted" });
    } finally {
      await server.end("SIGKILL");
      await forget(id);
    }
  });
}

Deno.test("recover() + mode queue + what was in flight may fail, what comes later waits", async () => {
  await using folder = await temporaryFolder();
  const options = disk(folder, { recovery: "queue" });
  const first = await ServerProcess.start({ options });
  const id = idOf(first.path);
  try {
    await first.end("SIGKILL");
    await untilState(id, UBLK_S_DEV_QUIESCED);
    const read = background("dd if=$disk of=/dev/null bs=4K count=16 iflag=direct status=none", {
      disk: first.path,
    });
    await using device = await recover(id, { backend: options.backend });
    await read.end();
    assertEquals([device.info().recovery, device.info().size], ["queue", SIZE]);
  } finally {
    await forget(id);
  }
});

testWhere(
  (FEATURES & UBLK_F_USER_RECOVERY_FAIL_IO) !== 0,
  "recover() + mode fail + requests fail until then, and no longer",
  async () => {
    await using folder = await temporaryFolder();
    const options = disk(folder, { recovery: "fail" });
    const first = await ServerProcess.start({ options });
    const id = idOf(first.path);
    const read = "dd if=$disk of=/dev/null bs=4K count=1 iflag=direct";
    try {
      await first.end("SIGKILL");
      await untilState(id, UBLK_S_DEV_FAIL_IO);
      assertMatch((await attempt(read, { disk: first.path })).stderr, /Remote I\/O|Input\/output/);
      await using device = await recover(id, { backend: options.backend });
      await sh(read, { disk: device.path });
      assertEquals(device.info().recovery, "fail");
    } finally {
      await forget(id);
    }
  },
);

const QUIESCE = (FEATURES & UBLK_F_QUIESCE) !== 0;

for (
  const [name, options, load] of [
    ["idle", {}, false],
    ["under load", { queues: 2 }, true],
    ["under load, batch", { queues: 2, batch: true }, true],
    ["under load, per-I/O daemons", { queues: 2, threads: 3, perIoDaemons: true }, true],
  ] as [string, Partial<DeviceOptions>, boolean][]
) {
  testWhere(
    QUIESCE,
    `quiesce + ${name} + the server ends, the device stays, another goes on`,
    async () => {
      await using folder = await temporaryFolder();
      const made = disk(folder, options);
      const first = await ServerProcess.start({ options: made });
      const { path } = first;
      const id = idOf(path);
      try {
        const work = load
          ? background(
            "fio --name=job --filename=$disk --direct=1 --ioengine=libaio --iodepth=64 " +
              "--rw=randwrite --bs=4k --size=32M --verify=crc32c --time_based --runtime=8 " +
              "--do_verify=1 --output=$log || { cat $log; exit 1; }",
            { disk: path, log: `${folder.path}/fio` },
          )
          : undefined;
        if (load) await new Promise((resolve) => setTimeout(resolve, 3000));
        {
          await using control = await Control.open();
          await control.quiesceDev(id, 60_000);
        }
        assertEquals(await first.closed(), { reason: "quiesced", recoverable: true });
        await untilState(id, UBLK_S_DEV_QUIESCED);
        const { threads, perIoDaemons } = made;
        const task = { recover: id, options: { backend: made.backend, threads, perIoDaemons } };
        await using second = await ServerProcess.start(task);
        assertEquals(second.path, path);
        // With batch I/O the driver itself fails what arrives between QUIESCE_DEV and recovery: it
        // sets `force_abort` (`ublk_batch_cancel_queue`). That is for fio to tell and not for us.
        if (made.batch) await work?.end().catch(() => {});
        else await work?.end();
        await second.stop();
        assertEquals(await second.closed(), { reason: "deleted" });
      } finally {
        await first.end("SIGKILL");
        await forget(id);
      }
    },
  );
}

Deno.test("recover() + what cannot be + one line, and the device is left as it was", async () => {
  await using folder = await temporaryFolder();
  const options = disk(folder, { blockSize: 512 } as Partial<DeviceOptions>);
  const { backend } = options;
  const refused = async (id: number, other: Parameters<typeof recover>[1]) => {
    const error = await assertRejects(() => recover(id, other), UblkError);
    assertEquals(error.message.includes("\n"), false);
    return `${error.code}: ${error.message}`;
  };
  assertMatch(await refused(999, { backend }), /^DEVICE_NOT_FOUND/);
  assertMatch(await refused(-1, { backend }), /^INVALID_ARGUMENT.*no device/);
  {
    await using plain = await serve({ backend: memory("4MiB") });
    assertMatch(await refused(plain.id, { backend }), /^INVALID_ARGUMENT.*without recovery/);
  }
  const first = await ServerProcess.start({ options });
  const id = idOf(first.path);
  try {
    assertMatch(await refused(id, { backend }), /^DEVICE_BUSY.*is alive/);
    await first.end("SIGKILL");
    await untilState(id, UBLK_S_DEV_QUIESCED);
    await Deno.writeFile(`${folder.path}/small`, new Uint8Array(MIB));
    const small = file(`${folder.path}/small`);
    assertMatch(await refused(id, { backend: small }), /the backend only 1048576/);
    const coarse = file(`${folder.path}/disk`, { blockSize: 4096 });
    assertMatch(await refused(id, { backend: coarse }), /its blocks have 512 bytes/);
    assertMatch(await refused(id, { backend: memory(SIZE) }), /^INVALID_ARGUMENT/);
    const missing = file(`${folder.path}/missing`, { create: true, size: SIZE });
    assertMatch(await refused(id, { backend: missing }), /no such file.*is mounted/);
    const overlay = cow(file(`${folder.path}/disk`), { file: `${folder.path}/missing` });
    assertMatch(await refused(id, { backend: overlay }), /is not there.*is mounted/);
    await assertRejects(() => Deno.stat(`${folder.path}/missing`), Deno.errors.NotFound);
    // After all that, it can still be recovered.
    assertEquals(await stateOf(id), UBLK_S_DEV_QUIESCED);
    // Named as it was made, which was before it grew to what it is.
    const before = file(`${folder.path}/disk`, { create: true, size: MIB });
    await using device = await recover(id, { backend: before });
    await sh("dd if=$disk of=/dev/null bs=1M count=4 iflag=direct status=none", {
      disk: device.path,
    });
    await device.stop();
    await assertRejects(() => recover(id, { backend }), UblkError, "no such device");
  } finally {
    await first.end("SIGKILL");
    await forget(id);
  }
});

// For a device that waits for another server, STOP_DEV fails every request before it removes the
// disk: what had been written and not synced was lost.
for (const recovery of ["queue", "reissue"] as const) {
  Deno.test(`stop() + recovery ${recovery}, dirty pages + they are written first`, async () => {
    await using folder = await temporaryFolder();
    const device = await serve(disk(folder, { recovery }));
    // It stays open, since the last close would write the pages.
    const holder = background(
      'exec 3<> $disk; head -c 8M /dev/zero | tr "\\0" x >&3; touch $written; ' +
        "while test -e $written; do sleep 0.1; done",
      { disk: device.path, written: `${folder.path}/written` },
    );
    await untilThere(`${folder.path}/written`);
    const stopping = device.stop();
    await device.closed.then(() => Deno.remove(`${folder.path}/written`));
    await stopping;
    await holder.end();
    const bytes = Deno.readFileSync(`${folder.path}/disk`).subarray(0, 8 * MIB);
    assert(bytes.every((byte) => byte === 0x78), "all of it is in the file");
  });
}

Deno.test("serve() + recovery, a thread dies + the device stays, and can be recovered", async () => {
  const device = await serve({ backend: failing("dies", true), recovery: "fail" as const })
    .catch((error) => error as UblkError);
  if (device instanceof UblkError) return assertEquals(device.code, "KERNEL_TOO_OLD");
  const { id, path } = device;
  try {
    await attempt("dd if=$disk of=/dev/null bs=4096 count=1 skip=768 iflag=direct", { disk: path });
    const { reason, recoverable, error } = await device.closed;
    assertEquals([reason, recoverable, error?.code], ["failed", true, "THREAD_FAILED"]);
    assertEquals(device.state, "released");
    // It is not this process's any more; who wants to stop it hears why.
    await assertRejects(() => device.stop(), UblkError, "died on purpose");
    await untilState(id, UBLK_S_DEV_FAIL_IO);
    const backend = failing("close throws");
    await assertRejects(() => recover(id, { backend }), UblkError, "allowVolatile");
    const again = await recover(id, { backend, allowVolatile: true });
    assertEquals(again.info().state, "live");
    await assertRejects(() => again.stop(), UblkError, "on purpose");
  } finally {
    await forget(id);
  }
});
