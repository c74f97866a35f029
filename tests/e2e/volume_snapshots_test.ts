/**
 * Snapshots of volumes under a real filesystem, and the space that comes back when it deletes.
 *
 * @module
 */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { attempt, sh } from "./_disk.ts";
import { attach, place, right, ublk, volume } from "./_volumes.ts";

const MIB = 1 << 20;

Deno.test("a snapshot under load is a sound filesystem with all that was synced, and comes back", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "128M", ...at.store));
  const flags = ["db", ...at.both, "--journal-size", "64M"];
  const { path: disk } = await attach(...flags);
  const env = { at: at.path, disk };
  await sh("mkfs.ext4 -q $disk; mkdir $at/m $at/s; mount $disk $at/m; touch $at/sums", env);
  // A file is in the list once it has been synced, not before. The first twelve stay.
  const load = sh(
    `for n in $(seq 2000); do
       [ -e $at/enough ] && break
       head -c 256K /dev/urandom > $at/m/$n; sync $at/m/$n; sha256sum $at/m/$n >> $at/sums
       [ $n -le 36 ] || rm $at/m/$((n - 24))
     done`,
    env,
  );
  await sh("while [ $(wc -l < $at/sums) -lt 12 ]; do sleep 0.1; done", env);
  await sh("head -n 12 $at/sums > $at/before", env);
  await right(volume("snapshot", "db", "monday", ...at.both));
  await sh("wc -l < $at/sums > $at/after; touch $at/enough", env);
  await load;
  // More than there was: chunks of the snapshot are overwritten, and the store has been told.
  await sh(
    `test $(cat $at/after) -gt 12; rm $at/m/[0-9]*
     head -c 40M /dev/zero | tr '\\0' x > $at/m/other; sync -f $at/m; fstrim $at/m`,
    env,
  );
  await right(volume("sync", "db", ...at.both));
  await right(volume("gc", "db", ...at.both));
  const { id, path: old } = await attach("db@monday", ...at.both, "--read-only");
  assertEquals(await sh("blockdev --getro $old", { old }), "1");
  assertNotEquals((await attempt("dd if=/dev/zero of=$old bs=4k count=1", { old })).code, 0);
  // The filesystem was mounted: a copy replays its journal, as it does after a crash.
  const image = { ...env, old, image: `${at.path}/image` };
  const isSound =
    `mount -o ro $image $at/s; sed "s,$at/m/,$at/s/," $at/before | sha256sum --quiet -c
     test ! -e $at/s/other; umount $at/s`;
  await sh(
    `dd if=$old of=$image bs=1M conv=sparse iflag=direct status=none
     e2fsck -p $image > $at/fsck || test $? = 1; e2fsck -fn $image > $at/fsck 2>&1
     ${isSound.replace("-o ro", "-o ro,loop")}`,
    image,
  );
  await right(ublk("del", `${id}`));
  await sh("umount $at/m", env);
  await right(volume("detach", "db"));
  await right(volume("rollback", "db", "monday", ...at.store));
  const again = await attach(...flags);
  // A volume that can be written to replays the journal itself.
  await sh(
    `mount $image $at/m; umount $at/m; e2fsck -fn $image > $at/fsck 2>&1
     ${isSound}`,
    { ...env, image: again.path },
  );
  await right(volume("detach", "db"));
  const sound = await volume("check", "db", ...at.both);
  assertEquals([sound.code, sound.stderr], [0, ""], sound.stdout);
});

Deno.test("what is deleted and trimmed gives its space back, once no snapshot needs it", async () => {
  await using at = await place();
  await right(volume("create", "db", "--size", "128M", ...at.store));
  const { path: disk } = await attach("db", ...at.both, "--journal-size", "64M");
  const env = { at: at.path, disk, chunks: `${at.fs}/store/db/chunks` };
  const stored = async () => Number((await sh("du -sb $chunks", env)).split("\t")[0]);
  const info = async () => JSON.parse(await right(volume("info", "db", "--json", ...at.store)));
  const collect = async () => {
    await right(volume("sync", "db", ...at.both));
    return JSON.parse(await right(volume("gc", "db", "--json", ...at.both))).bytes;
  };
  await sh(
    `mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m
     for name in gone kept; do head -c 24M /dev/urandom > $at/m/$name; sync -f $at/m; done
     sha256sum $at/m/kept > $at/sums`,
    env,
  );
  await right(volume("snapshot", "db", "both", "--wait", ...at.both));
  const full = await stored();
  assert(full >= 48 * MIB, `${full} bytes`);
  await sh("rm $at/m/gone; sync -f $at/m; fstrim $at/m", env);
  await collect();
  const { keptBytes, mappedBytes } = await info();
  assert(keptBytes >= 24 * MIB && mappedBytes < 36 * MIB, `${keptBytes}, ${mappedBytes}`);
  assert(await stored() >= 48 * MIB, "a snapshot needs all of it");
  await right(volume("rm", "db@both", ...at.both));
  const freed = await collect();
  const left = await stored();
  assert(left <= 1.5 * mappedBytes + 4 * MIB, `${left} bytes for ${mappedBytes}, ${freed} freed`);
  assertEquals((await info()).keptBytes, 0);
  // Nobody missed anything.
  await sh(
    `echo 3 > /proc/sys/vm/drop_caches; sha256sum --quiet -c $at/sums
     umount $at/m; e2fsck -fn $disk > $at/fsck 2>&1`,
    env,
  );
  await right(volume("detach", "db"));
  await right(volume("gc", "db", ...at.store));
  const least = await stored();
  assert(least <= 1.2 * mappedBytes + MIB, `${least} bytes for ${mappedBytes}`);
  const sound = await volume("check", "db", ...at.both);
  assertEquals([sound.code, sound.stderr], [0, ""], sound.stdout);
});
