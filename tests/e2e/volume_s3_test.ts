/**
 * A volume whose store is a bucket, as a disk with a filesystem: its server is killed, and another
 * machine's journal is as good as its own once it was detached.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type CommandName, runCommand } from "../integration/_run_command.ts";
import { Running } from "./_command.ts";
import { sh } from "./_disk.ts";
import { type Attached, place, right } from "./_volumes.ts";

Deno.test("a volume in S3 keeps what was answered when its server is killed under a filesystem", async () => {
  await using bucket = new Running([Deno.execPath(), "run", "-A", "tests/bucket.ts"]);
  await using at = await place();
  const store = ["--store", await bucket.firstLine()];
  const keys = ["env", "AWS_ACCESS_KEY_ID=AK", "AWS_SECRET_ACCESS_KEY=a-secret"];
  const run = (name: CommandName, ...args: string[]) => runCommand(name, args, { wrap: keys });
  const volume = (...args: string[]) => right(run("ublk-volume", ...args));
  const attach = async (journal: string): Promise<Attached> =>
    JSON.parse(
      await volume(
        ...["attach", "db", "--json", ...store, "--journal", `${at.fs}/${journal}`],
        ...["--journal-size", "64M", "-r", "reissue"],
      ),
    );
  await volume("create", "db", "--size", "96M", ...store);
  const { id, pid, path: disk } = await attach("journal");
  const env = { at: at.path, disk };
  await sh("mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m; touch $at/sums", env);
  const load = sh(
    `for n in $(seq 24); do
       head -c 512K /dev/urandom > $at/m/$n; sync $at/m/$n; sha256sum $at/m/$n >> $at/sums
     done`,
    env,
  ).catch((error) => error as Error);
  await sh("while [ $(wc -l < $at/sums) -lt 8 ]; do sleep 0.1; done", env);
  Deno.kill(pid, "SIGKILL");
  await right(run("ublk", "recover", "--json", `${id}`));
  const failure = await load;
  if (failure instanceof Error) throw failure;
  const areThere = "echo 3 > /proc/sys/vm/drop_caches; sha256sum --quiet -c $at/sums";
  await sh(`${areThere}; umount $at/m`, env);
  await volume("detach", "db");
  const info = JSON.parse(await volume("info", "db", "--json", ...store));
  assert(info.mappedBytes >= 12 << 20 && info.attachedBy === null, JSON.stringify(info));
  // All of it comes from the bucket now.
  const again = await attach("other");
  await sh(
    `e2fsck -fn $disk > $at/fsck 2>&1; mount $disk $at/m; ${areThere}; umount $at/m`,
    { ...env, disk: again.path },
  );
  await volume("detach", "db");
  const sound = await run("ublk-volume", "check", "db", ...store);
  assertEquals([sound.code, sound.stderr], [0, ""]);
});
