/**
 * `ublk-nbd` under the kernel's own client: a filesystem, fio, several connections, and a server that
 * is killed and started again.
 */

import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { placeOf, snippetsOf } from "../snippets.ts";
import { type Running, sleep, start } from "./_command.ts";
import { attempt, FIO, sh, temporaryFolder } from "./_disk.ts";
import { makePrograms } from "./_docs_shell.ts";

const MIB = 1 << 20;
const DISK = "/dev/nbd0";
const SOCKET = "/run/nbd-test.sock";

/** Some files of this checkout. */
const SOURCES = ["nbd", "disk", "uapi"].map((name) =>
  new URL(`../../${name}`, import.meta.url).pathname
);
const NETLINK = new URL("_nbd_netlink.py", import.meta.url).pathname;

/** A server of a file. In the end the kernel's client lets go of it first. */
class Served implements AsyncDisposable {
  readonly #args: readonly string[];
  #server!: Running;

  private constructor(args: readonly string[]) {
    this.#args = args;
  }

  static async of(file: string, listen: string): Promise<Served> {
    await sh("modprobe nbd nbds_max=1");
    const served = new Served(["--listen", listen, "-t", "loop", file]);
    await served.serve();
    return served;
  }

  /** Starts the server, once more if it was killed. */
  async serve(): Promise<void> {
    this.#server = start("ublk-nbd", ...this.#args);
    assertMatch(await this.#server.firstLine(), /^nbd/);
  }

  /** Kills the server. */
  async kill(): Promise<void> {
    this.#server.kill("SIGKILL");
    await this.#server.exitCode();
  }

  /** Disconnects the client, ends the server, and returns what it has logged about clients. */
  async end(): Promise<string> {
    await sh(`nbd-client -d ${DISK}`);
    while ((await attempt(`nbd-client -c ${DISK}`)).code === 0) await sleep(50);
    this.#server.kill("SIGTERM");
    assertEquals(await this.#server.exitCode(), 0, this.#server.stderr);
    return this.#server.stderr.replace(/^.* ending: SIGTERM\n$/, "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await attempt(`umount ${DISK}; nbd-client -d ${DISK}`);
    await this.#server[Symbol.asyncDispose]();
  }
}

/** Makes a filesystem with files in it, and mounts it. */
const FILL = `
  mkdir $mount
  mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 $disk
  mount $disk $mount
  cp -r ${SOURCES.join(" ")} $mount/
  (cd $mount && find . -type f -print0 | sort -z | xargs -0 sha256sum) > $mount.sums
  test $(wc -l < $mount.sums) -gt 50
  sync -f $mount
`;

/** What was written is there, whatever the page cache thinks. */
const CHECK = `
  umount $mount
  fsck.ext4 -fn $disk > $mount.fsck 2>&1 || { cat $mount.fsck; exit 1; }
  mount $disk $mount
  (cd $mount && sha256sum --quiet --check $mount.sums)
  umount $mount
`;

const FIO_VERIFIES = `${FIO} --filename=$disk --rw=randwrite --bsrange=512-256K --blockalign=512 \
  --iodepth=8 --numjobs=4 --offset_increment=4M --size=4M --verify=crc32c --verify_fatal=1`;

/** A file of 64 MiB, and the variables of the scripts. */
async function emptyFile() {
  const folder = await temporaryFolder();
  const file = `${folder.path}/disk`;
  await sh("truncate -s 64M $file", { file });
  const variables = { disk: DISK, mount: `${folder.path}/mount` };
  return { file, variables, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

for (
  const [connections, listen, place] of [
    [1, `unix:${SOCKET}`, `-unix ${SOCKET}`],
    [4, "tcp", "127.0.0.1 10809"],
  ] as const
) {
  Deno.test(`nbd-client + ${connections} connections, ${listen} + ext4 lives, fio verifies, it leaves in order`, async () => {
    await using empty = await emptyFile();
    const { file, variables } = empty;
    await using served = await Served.of(file, listen);
    await sh(`nbd-client ${place} ${DISK} -C ${connections} -b 512`);
    assertEquals(await sh("blockdev --getsize64 $disk", variables), `${64 * MIB}`);
    await sh(FILL + CHECK, variables);
    await sh(FIO_VERIFIES, variables);
    assertGreater(Deno.statSync(file).blocks! * 512, 16 * MIB);
    // A discard makes a hole of the whole file.
    await sh("blkdiscard $disk", variables);
    assertEquals(await served.end(), "");
    assertEquals(Deno.statSync(file).blocks, 0);
  });
}

Deno.test("the kernel's client + a server killed without mercy + a new one has what was synced", async () => {
  await using empty = await emptyFile();
  const { file, variables } = empty;
  await using served = await Served.of(file, `unix:${SOCKET}`);
  await sh(`nbd-client -unix ${SOCKET} ${DISK} -b 512`);
  await sh(FILL, variables);
  await served.kill();
  // Without a server, what must reach the disk fails instead of waiting for ever.
  assert((await attempt("echo lost > $mount/lost; sync -f $mount", variables)).code !== 0);
  await sh("umount $mount; nbd-client -d $disk", variables);
  await served.serve();
  await sh(`nbd-client -unix ${SOCKET} ${DISK} -b 512`);
  // The journal is replayed.
  await sh("mount $disk $mount" + CHECK, variables);
  assertEquals(await served.end(), "");
});

Deno.test("the kernel's client + a server killed and replaced under ext4 and fio + no error", async () => {
  await using empty = await emptyFile();
  const { file, variables } = empty;
  await using served = await Served.of(file, `unix:${SOCKET}`);
  await sh(`python3 ${NETLINK} configure 0 ${SOCKET} 2`);
  await sh(FILL, variables);
  const fio = sh(
    `${FIO} --directory=$mount --allow_file_create=1 --rw=randwrite --bsrange=4K-64K --iodepth=8 \
      --numjobs=2 --size=4M --loops=2 --rate=2M --fsync=32 --verify=crc32c --verify_fatal=1`,
    variables,
  );
  let rounds = 0;
  const killing = (async () => {
    for (; rounds < 2; rounds++) {
      await sleep(1000);
      await served.kill();
      await served.serve();
      await sh(`python3 ${NETLINK} reconfigure 0 ${SOCKET} 2`);
    }
  })();
  await Promise.all([fio, killing]);
  assertEquals(rounds, 2);
  await sh(CHECK, variables);
  assertEquals(await served.end(), "");
});

for (const snippet of snippetsOf("docs/ublk-nbd.md")) {
  if (snippet.runBy !== "tests/e2e/nbd_test.ts") continue;
  Deno.test(`${placeOf(snippet)} + command lines + work as they stand there`, async () => {
    await using folder = await temporaryFolder();
    await makePrograms(folder.path);
    // A server in the background is waited for, and ended in the end.
    const text = snippet.text.replaceAll(
      /&$/gm,
      "& until [ -S /run/disk.sock ]; do sleep 0.1; done",
    );
    const end = "trap 'kill $(jobs -p); wait' EXIT";
    await sh(`${end}\n${text}`, { PATH: `${folder.path}:${Deno.env.get("PATH")}` });
  });
}
