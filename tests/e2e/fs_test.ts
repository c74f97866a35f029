/**
 * Real filesystems with real files, on every kind of backend.
 *
 * @module
 */

import { assertEquals, assertGreater } from "@std/assert";
import { type DeviceOptions, memory, serve, type ServedDevice } from "../../mod.ts";
import { counting, open as openCounting, watched } from "../backends/counting.ts";
import { fileDisk, open as openFile } from "../backends/file.ts";
import { sh, temporaryFolder } from "./_disk.ts";

const MIB = 1 << 20;

/** This checkout: some hundred real files. */
const SOURCES = ["backends", "ctrl", "device", "disk", "queue", "tests", "uapi", "uring", "vm"]
  .map((name) => new URL(`../../${name}`, import.meta.url).pathname);

/** The ways to check a filesystem that has just been unmounted, changing nothing. */
const FSCK = { ext4: "fsck.ext4 -fn $disk", xfs: "xfs_repair -n $disk" };

/** Files in, checksums, unmounted, mounted again, checksums, unmounted, checked. */
async function liveOn(device: ServedDevice, kind: keyof typeof FSCK): Promise<void> {
  await using folder = await temporaryFolder();
  await sh(
    `
    trap 'umount $mount 2> /dev/null || true' EXIT
    mkdir $mount
    mkfs.${kind} -q $disk
    mount -t ${kind} $disk $mount
    cp -r ${SOURCES.join(" ")} /bin/bash $mount/
    (cd $mount && find . -type f -print0 | sort -z | xargs -0 sha256sum) > $mount.sums
    test $(wc -l < $mount.sums) -gt 100
    # What is compared is what was copied, and not only what is there.
    cmp /bin/bash $mount/bash
    umount $mount
    mount -t ${kind} $disk $mount
    (cd $mount && sha256sum --quiet --check $mount.sums)
    rm -r $mount/tests
    umount $mount
    ${FSCK[kind]} > $mount.fsck 2>&1 || { cat $mount.fsck; exit 1; }
    `,
    { disk: device.path, mount: `${folder.path}/mount` },
  );
}

/** Serves, lives there with a filesystem, and looks at the counters. */
async function serveAndLive(options: DeviceOptions, kind: keyof typeof FSCK): Promise<void> {
  await using device = await serve(options);
  await liveOn(device, kind);
  const { total } = device.stats();
  assertGreater(total.bytesWritten, MIB);
  assertEquals({ errors: total.errors, timeouts: total.timeouts }, { errors: 0, timeouts: 0 });
}

Deno.test("memory() + 4 queues + serves ext4", async () => {
  await serveAndLive({ backend: memory("32MiB"), queues: 4 }, "ext4");
});

Deno.test("memory() + copy, blocks of 4096 + serves ext4", async () => {
  const backend = memory("32MiB", { direct: false, blockSize: 4096 });
  await serveAndLive({ backend, maxIoBytes: 64 << 10 }, "ext4");
});

Deno.test("memory() + 4 queues + serves xfs", async () => {
  // The least that mkfs.xfs takes is 300 MiB; what is not written takes no memory.
  await serveAndLive({ backend: memory("320MiB"), queues: 4 }, "xfs");
});

for (const sharing of ["single", "per-queue"] as const) {
  for (const synchronous of [true, false]) {
    const kind = synchronous ? "synchronous" : "asynchronous";
    Deno.test(`serve() + ${kind} ${sharing} module over a file, 4 queues + serves ext4`, async () => {
      await using folder = await temporaryFolder();
      const path = `${folder.path}/disk`;
      Deno.writeFileSync(path, new Uint8Array(0));
      Deno.truncateSync(path, 32 * MIB);
      const backend = fileDisk(path, synchronous, sharing);
      await serveAndLive({ backend, queues: 4 }, "ext4");
      // What was flushed is in the file, which is a filesystem by itself.
      await sh("fsck.ext4 -fn $path > /dev/null 2>&1", { path });
    });
  }
}

Deno.test("serve() + asynchronous module of timers, with trim and zeroes + serves xfs", async () => {
  const backend = counting(watched(320 * MIB), "single", { style: "async" });
  await serveAndLive({ backend }, "xfs");
});

Deno.test("serve() + object backend on this thread, plain methods, 2 queues + serves ext4", async () => {
  const backend = openCounting({ ...watched(32 * MIB), style: "plain" });
  await serveAndLive({ backend, queues: 2 }, "ext4");
});

Deno.test("serve() + object backend on this thread, Promises over a file, paranoid + serves ext4", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/disk`;
  Deno.writeFileSync(path, new Uint8Array(0));
  Deno.truncateSync(path, 32 * MIB);
  const backend = openFile({ path, synchronous: false });
  await serveAndLive({ backend, paranoid: true }, "ext4");
});
