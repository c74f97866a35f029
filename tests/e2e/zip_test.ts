/** Archives on a real kernel: its own FAT and ext4 read what is served from them. As `docs/ublk-zip.md` has it. */

import { assertEquals, assertMatch } from "@std/assert";
import { crc32 } from "node:zlib";
import { serve, zip } from "../../mod.ts";
import { runCommand } from "../integration/_run_command.ts";
import { makeZip, type ZipMember } from "../zip_writer.ts";
import { start } from "./_command.ts";
import { attempt, sh, temporaryFolder } from "./_disk.ts";

const MIB = 1 << 20;

/** Runs a script while a disk is mounted at `$mount`. */
async function mounted(disk: string, options: string, script: string, env: Record<string, string>) {
  return await sh(
    `mkdir -p $mount && mount ${options} $disk $mount
     trap 'umount $mount' EXIT
     ${script}`,
    { ...env, disk },
  );
}

/** Files of many sizes in a few folders, also written to a folder to compare with. */
async function manyFiles(folder: string): Promise<ZipMember[]> {
  const members: ZipMember[] = [];
  for (let index = 0; index < 120; index++) {
    const name = `folder ${index % 5}/deeper/Überschrift ${index} ✓.txt`;
    const data = new TextEncoder().encode(`${index},`.repeat(index % 7 * index));
    members.push({ name, data, deflate: index % 2 === 0 });
  }
  const bash = await Deno.readFile("/bin/bash");
  members.push({ name: "BASH.BIN", data: bash }, {
    name: "bash deflated",
    data: bash,
    deflate: true,
  });
  // Read side by side, these once gave way to each other until all had timed out.
  for (let index = 1; index <= 8; index++) {
    const data = new Uint8Array(3 * MIB).fill(index);
    crypto.getRandomValues(data.subarray(MIB, MIB + 65_536));
    members.push({ name: `large ${index}`, data, deflate: true, claims: { crc32: crc32(data) } });
  }
  for (const { name, data } of members) {
    await Deno.mkdir(`${folder}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeFile(`${folder}/${name}`, data!);
  }
  return members;
}

for (const [blockSize, queues] of [[512, 1], [4096, 2]]) {
  Deno.test(`serve() + zip + files are a vfat, blocks of ${blockSize}, ${queues} queues`, async () => {
    await using folder = await temporaryFolder();
    const [archive, expected] = [`${folder.path}/a.zip`, `${folder.path}/expected`];
    await Deno.writeFile(archive, await makeZip(await manyFiles(expected)));
    await using device = await serve({ backend: zip(archive, { blockSize }), queues });
    const env = { expected, mount: `${folder.path}/mount` };
    const found = await mounted(
      device.path,
      "-t vfat -o ro,utf8",
      `for index in 1 2 3 4 5 6 7 8; do
         cmp "$expected/large $index" "$mount/large $index" &
       done
       wait
       diff -r $expected $mount
       TZ=UTC stat -c %y $mount/BASH.BIN
       ls $mount/bash* $mount/BASH* | wc -l`,
      env,
    );
    assertEquals(found, "2024-03-02 10:20:30.000000000 +0000\n2");
    const check = await attempt("fsck.fat -n $disk", { disk: device.path });
    assertEquals(check.code, 0, check.stdout + check.stderr);
    assertMatch(check.stdout, /: 141 files, \d+\/65541 clusters/);
    assertEquals(device.stats().total.errors, 0);
  });
}

Deno.test("serve() + zip with a damaged file + that file reads as EIO, the others are there", async () => {
  await using folder = await temporaryFolder();
  const archive = `${folder.path}/a.zip`;
  const data = new TextEncoder().encode("something to read\n".repeat(1000));
  await Deno.writeFile(
    archive,
    await makeZip([
      { name: "good.txt", data, deflate: true },
      { name: "bad.txt", data, deflate: true, claims: { crc32: 1 } },
    ]),
  );
  await using device = await serve({ backend: zip(archive) });
  const found = await mounted(
    device.path,
    "-t vfat -o ro",
    "wc -c < $mount/good.txt; cat $mount/bad.txt 2>&1 > /dev/null || true",
    { mount: `${folder.path}/mount` },
  );
  assertMatch(found, /^18000\ncat: .*bad\.txt: Input\/output error$/);
});

/** An image of some size with an ext4, in which a program is. */
async function ext4(path: string, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
  await sh(
    `mkdir $path.root && cp /bin/bash $path.root/ && truncate -s $bytes $path
     mke2fs -q -F -t ext4 -d $path.root $path`,
    { path, bytes: `${bytes}` },
  );
  return await Deno.readFile(path);
}

/** The image as a member. The writer's own checksum takes too long. */
function imageOf(data: Uint8Array, deflate: boolean): ZipMember {
  return { name: "disk.img", data, deflate, claims: { crc32: crc32(data) } };
}

for (
  const [how, deflate, bytes] of [
    ["stored", false, 16 * MIB],
    ["deflated", true, 16 * MIB],
    // Too large to be checked first.
    ["deflated and inflated meanwhile", true, 132 * MIB],
  ] as const
) {
  Deno.test(`serve() + zip + an ext4 that is ${how} is mounted, and is the image to the byte`, async () => {
    await using folder = await temporaryFolder();
    const [archive, image] = [`${folder.path}/a.zip`, `${folder.path}/disk.img`];
    const data = await ext4(image, bytes);
    const readme = { name: "readme", data: new Uint8Array(77) };
    await Deno.writeFile(archive, await makeZip([readme, imageOf(data, deflate)]));
    await using device = await serve({ backend: zip(archive), queues: 2 });
    const disk = device.path;
    const env = { image, mount: `${folder.path}/mount` };
    await mounted(disk, "-t ext4 -o ro,noload", "cmp /bin/bash $mount/bash", env);
    await sh("cmp $disk $image", { disk, image });
    assertEquals(device.stats().total.errors, 0);
  });
}

Deno.test("ublk-zip and ublk add -t zip serve an archive, and refuse a damaged one in a line", async () => {
  await using folder = await temporaryFolder();
  const archive = `${folder.path}/a.zip`;
  const member = imageOf(await ext4(`${folder.path}/disk`, 8 * MIB), true);
  await Deno.writeFile(archive, await makeZip([{ name: "x", data: new Uint8Array(5) }, member]));
  const mount = `${folder.path}/mount`;
  {
    await using server = start("ublk-zip", archive, "disk.img");
    const disk = await server.firstLine();
    await mounted(disk, "-o ro,noload", "cmp /bin/bash $mount/bash", { mount });
    server.kill("SIGINT");
    assertEquals(await server.exitCode(), 0);
  }
  const wrap = `cow:${folder.path}/changes`;
  const args = ["add", "-t", "zip", "--member", "disk.img", "--wrap", wrap, "--json", archive];
  const added = await runCommand("ublk", args);
  assertEquals([added.code, added.stderr], [0, ""]);
  const { path, id } = JSON.parse(added.stdout);
  try {
    await mounted(path, "-t ext4", "cmp /bin/bash $mount/bash && cp /bin/ls $mount/", { mount });
    await mounted(path, "-t ext4", "cmp /bin/ls $mount/ls", { mount });
  } finally {
    assertEquals((await runCommand("ublk", ["del", "-n", `${id}`])).code, 0);
  }
  const wrong = [{ ...member, claims: { crc32: 1 } }];
  await Deno.writeFile(archive, await makeZip(wrong));
  const refused = await runCommand("ublk-zip", [archive]);
  assertEquals([refused.code, refused.stdout], [2, ""]);
  assertMatch(
    refused.stderr,
    /^ublk-zip: error: disk\.img in .*a\.zip: it is damaged: .+; get.+\n$/,
  );
});
