/**
 * A guest that boots from a volume: QEMU reaches it over NBD, and knows nothing of it.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { bootFromDisk } from "../../vm/disk_guest.ts";
import { findBusybox } from "../../vm/packages.ts";
import { Scratch } from "../scratch.ts";
import { client, ublkNbd, uriAt } from "./_nbd.ts";
import { runCommand } from "./_run_command.ts";

/** Emulated, beside other guests, after a first download of the kernel. */
const LIMIT_MS = 300_000;

/** The only program that the guest starts. It runs on the volume, and leaves something there. */
const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -o remount,rw /
echo "root: $(/bin/busybox grep ' / ' /proc/mounts | /bin/busybox tail -n 1)"
echo "written by Linux $(/bin/busybox uname -r)" >/written
/bin/busybox dd if=/dev/urandom of=/random bs=1M count=4 2>/dev/null
/bin/busybox sha256sum /random >/random.sum
/bin/busybox sync
echo "synced"
/bin/busybox poweroff -f
`;

/** An ext4 image with that program. */
async function rootImage(folder: string): Promise<string> {
  const [root, image] = [`${folder}/root`, `${folder}/image`];
  for (const name of ["bin", "sbin", "proc", "dev"]) {
    Deno.mkdirSync(`${root}/${name}`, { recursive: true });
  }
  const busybox = await findBusybox();
  assert(busybox !== undefined, "a static busybox is there once a guest was booted");
  Deno.copyFileSync(busybox, `${root}/bin/busybox`);
  Deno.writeTextFileSync(`${root}/sbin/init`, INIT, { mode: 0o755 });
  await client("mkfs.ext4", "-q", "-d", root, image, "32M");
  return image;
}

Deno.test("a guest + a volume as its root, through QEMU + boots from it, and what it synced is there", async () => {
  using scratch = new Scratch();
  const folder = scratch.path;
  const path = `${folder}/s`;
  const places = ["--store", `${folder}/store`, "--journal", `${folder}/journal`];
  const volume = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCommand("ublk-volume", args);
    assertEquals(code, 0, stdout + stderr);
  };
  await volume("create", "root", "--size=32M", ...places.slice(0, 2));
  await volume("import", await rootImage(folder), "root", ...places);
  {
    await using server = await ublkNbd(path, "-t", "volume", "root", ...places);
    const drive = uriAt(path);
    const lines = await bootFromDisk({ kernel: "7.2", drive, folder, timeoutMs: LIMIT_MS });
    // The kernel writes to the same console, also before and behind what is on a line.
    const text = lines.join("\n");
    assertMatch(text, /root: \/dev\/vda \/ ext4 rw,relatime 0 0/);
    assertMatch(text, /^synced|synced$/m);
    // Without mercy: the guest has synced, so it may rely on it.
    await server.end("SIGKILL");
    assertEquals(server.log, "");
  }
  {
    // It is opened again with what the journal has, and closed in order.
    await using server = await ublkNbd(path, "-t", "volume", "root", ...places);
    assertEquals(await server.end(), 0, server.log);
  }
  await volume("check", "root", ...places);
  const image = `${folder}/after`;
  await volume("export", "root", image, ...places.slice(0, 2));
  // Its journal is replayed first: the guest has not unmounted it.
  const checked = await client("bash", "-c", `e2fsck -fy ${image}; test $? -le 1`);
  assertStringIncludes(checked, "recovering journal");
  const read = (file: string) => client("debugfs", "-R", `cat ${file}`, image);
  assertStringIncludes(await read("/written"), "written by Linux 7.2.");
  await client("debugfs", "-R", `dump /random ${folder}/random`, image);
  const [sum] = (await client("sha256sum", `${folder}/random`)).split(" ");
  assertStringIncludes(await read("/random.sum"), sum);
});
