/**
 * Unprivileged devices, with the udev rule that ships: a user's own from the making to the end,
 * closed to everybody else; and what is said where a user cannot have one.
 *
 * As `docs/unprivileged.md` has it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Control } from "../../ctrl/control.ts";
import { UblkError } from "../../uapi/error.ts";
import { assertOneLine, ROOT, runCommand } from "../integration/_run_command.ts";
import { sh, ublkNodes } from "./_disk.ts";
import { ownership, prepareUsers, RULE, startUdev, User } from "./_users.ts";

const owner = new User(4711);
const stranger = new User(4712);

await prepareUsers(owner, stranger);
// As root would.
await sh(`${ROOT}/udev/install.sh`);
await startUdev();

const root = (...args: string[]) => runCommand("ublk", args);

/** What the driver offers. */
const offered = (await root("features")).stdout;

/** Runs `ublk add` as a user; root deletes all at the end of the scope. */
async function add(user: User, ...args: string[]) {
  const info = JSON.parse(await user.done("add", "--json", ...args));
  return {
    id: `${info.id}`,
    info,
    disk: info.path as string,
    char: info.charPath as string,
    [Symbol.asyncDispose]: async () => void await root("del", "--force", "-a"),
  };
}

const runFiles = () => [...Deno.readDirSync(owner.runtimeFolder)].map(({ name }) => name);

Deno.test("a user makes, uses, resizes and removes a device of their own", async () => {
  assertEquals(await ownership("/dev/ublk-control"), "0:root 666");
  await using device = await add(owner, "-t", "mem", "--size", "32M");
  const { id, disk, char, info } = device;
  assert(info.features.includes("UNPRIVILEGED_DEV"));
  assertEquals([info.dataPath, info.reductions], ["get-data", []]);
  assertEquals(info.log, `${owner.runtimeFolder}/ublk/${id}.log`);
  for (const node of [disk, char]) assertEquals(await ownership(node), "4711:root 600");
  // What follows a write to a disk: without the rule's last line it would be the group disk's now.
  await sh("udevadm trigger --action=change $disk; udevadm settle", { disk });
  assertEquals(await ownership(disk), "4711:root 600");
  const uuid = crypto.randomUUID();
  const used = await owner.sh(
    `
    head -c 1M /dev/urandom >$data
    dd if=$data of=$disk bs=256K oflag=direct status=none
    dd if=$disk bs=256K count=4 iflag=direct status=none | cmp - $data
    /sbin/mke2fs -q -U $uuid $disk && /sbin/e2fsck -fn $disk >/dev/null 2>&1
    `,
    { disk, data: `${owner.runtimeFolder}/data`, uuid },
  );
  assertEquals([used.code, used.stderr], [0, ""]);
  // Nobody finds it by a UUID, which its owner could choose to be that of a disk of root's.
  await sh("udevadm settle; [ ! -e /dev/disk/by-uuid/$uuid ]", { uuid });
  const [row, ...others] = JSON.parse(await owner.done("list", "--json"));
  assertEquals(others, []);
  assertEquals([row.target, row.state, row.serverPid], ["mem", "live", info.pid]);
  assertMatch(await owner.done("info", "-n", id), /^owner uid: 4711$/m);
  if (offered.includes("UPDATE_SIZE")) {
    await owner.done("update_size", "-n", id, "-s", "16M");
    assertEquals(await sh(`cat /sys/block/ublkb${id}/size`), `${(16 << 20) / 512}`);
  }
  await owner.done("del", "-n", id);
  assertEquals(ublkNodes(), []);
  assertEquals([...Deno.readDirSync(`${owner.runtimeFolder}/ublk`)], []);
});

Deno.test("nobody else can touch it, a request never answered does not cost its server, root can delete it", async () => {
  await using device = await add(owner, "-t", "fault_inject", "--hang", "1");
  const { id, disk, char, info } = device;
  assertEquals([info.dataPath, info.reductions], ["copy", []]);
  const startedMs = performance.now();
  const reading = owner.sh("dd if=$disk of=/dev/null bs=4k count=1 iflag=direct", { disk })
    .then((ran) => ({ ...ran, seconds: (performance.now() - startedMs) / 1000 }));
  for (const node of [disk, char]) {
    for (const how of ["<", ">", "<>"]) {
      const { code, stderr } = await stranger.sh(`exec 3${how}$node`, { node });
      assertEquals(code, 1);
      assertMatch(stderr, /Permission denied$/m);
    }
  }
  await Promise.all([
    stranger.refused("info", "-n", id),
    stranger.refused("stop", "-n", id),
    stranger.refused("del", "-n", id),
  ]);
  assertEquals(await Promise.all([stranger.done("list", "--json"), stranger.done("del", "-a")]), [
    "[]\n",
    "",
  ]);
  // Even with the disk's node open to all the driver lets its owner in alone.
  await Deno.chmod(disk, 0o666);
  const opened = await stranger.sh("exec 3<$disk", { disk });
  assertMatch(opened.stderr, /Operation not permitted$/m);
  assertEquals((await owner.sh("exec 3<$disk", { disk })).code, 0);
  // The deadline answers for the request, before the kernel kills the server for it, 30 s after it
  // came: its reader would hear of an error, and the server would be gone.
  const { code, stderr, seconds } = await reading;
  assertEquals(code, 1);
  assertMatch(stderr, /Connection timed out/);
  assert(seconds > 10, `${seconds} s`);
  const [row] = JSON.parse(await owner.done("list", "--json"));
  assertEquals([row.state, row.serverPid, row.serverAlive], ["live", info.pid, true]);
  if (!offered.includes("SAFE_STOP")) {
    assertOneLine(await owner.ublk(["stop", "--safe", "-n", id]), 1, /Linux 7\.0 or newer/);
  }
  {
    await using control = await Control.open();
    const kept = await assertRejects(() => control.delDev(Number(id), { async: true }), UblkError);
    assertMatch(kept.message, /does not delete unprivileged devices without waiting/);
  }
  const deleted = await root("del", "-n", id);
  assertEquals([deleted.code, deleted.stderr, ublkNodes()], [0, "", []]);
});

Deno.test("what the driver excludes is refused in one line", async () => {
  const [copied, recoverable] = await Promise.all([
    owner.ublk(["add", "-t", "null", "--user-copy"]),
    owner.ublk(["add", "-t", "null", "-r", "1"]),
  ]);
  assertOneLine(copied, 2, /exclude user-copy; this device can have copy, get-data$/m);
  assertOneLine(recoverable, 2, /unprivileged devices cannot be recovered/);
});

Deno.test("the rule leaves root's devices as they are", async () => {
  const { code, stdout, stderr } = await root("add", "-t", "null", "--json");
  assertEquals([code, stderr], [0, ""]);
  const { id, path, charPath } = JSON.parse(stdout);
  await sh("udevadm settle");
  assertEquals(await ownership(path), "0:disk 660");
  assertEquals(await ownership(charPath), "0:root 600");
  const [, insisting] = await Promise.all([
    owner.refused("del", "-n", `${id}`),
    root("add", "-t", "null", "--unprivileged"),
  ]);
  assertOneLine(insisting, 2, /root cannot have an unprivileged device/);
  assertEquals((await root("del", "-a")).code, 0);
});

Deno.test("without io_uring a user is told in one line", async () => {
  const sysctl = "/proc/sys/kernel/io_uring_disabled";
  await Deno.writeTextFile(sysctl, "1");
  try {
    assertOneLine(await owner.ublk(["list"]), 1, /forbids io_uring.*io_uring_disabled=0/);
  } finally {
    await Deno.writeTextFile(sysctl, "0");
  }
});

Deno.test("without the rule a user is told what to install, and root cleans up", async () => {
  await Deno.remove(RULE);
  await sh("udevadm control --reload");
  assertOneLine(
    await owner.ublk(["add", "-t", "null", "-n", "9"]),
    1,
    /^ublk: error: wait for \/dev\/ublkc9.*udev\/install\.sh; .*root to delete: ublk del -n 9$/m,
  );
  assertEquals(ublkNodes(), ["ublkc9"]);
  assertEquals((await root("del", "-a")).code, 0);
  assertEquals(ublkNodes(), []);
  await sh("udevadm control --exit");
  await Deno.chmod("/dev/ublk-control", 0o600);
  assertOneLine(await owner.ublk(["add", "-t", "null"]), 1, /this user may not open it/);
});

Deno.test("nothing of a user's devices is left", () => {
  assertEquals([ublkNodes(), runFiles().sort()], [[], ["data", "ublk"]]);
  assertEquals([...Deno.readDirSync(`${owner.runtimeFolder}/ublk`)], []);
});
