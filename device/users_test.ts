import { assertEquals } from "@std/assert";
import { libc } from "../uring/libc.ts";
import { type DiskUser, diskUsers, parseUsers, usersText } from "./users.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
libc();

const NAMES: Readonly<Record<string, string>> = { 10: "bash", 20: "fio", 30: "(udev-worker)" };
const parse = (...lines: string[]) => parseUsers(lines.join("\n") + "\n", (pid) => NAMES[pid]);
const text = (...lines: string[]) => usersText(parse(...lines));

Deno.test("a disk's users are mounts, filesystems, swap, devices on it and processes", () => {
  assertEquals(
    text(
      "self 7",
      "dev 259:0",
      "dev 259:1",
      "holder md0",
      "holder dm-1",
      "name dm-0 other",
      "name dm-1 vg-root",
      "filesystem ext4",
      "swap /dev/ublkb0p2                         partition\t1024\t0\t-2",
      "loop /sys/block/loop3/loop/backing_file:/dev/ublkb0",
      "fd /proc/20/fd:",
      "fd lrwx------ 1 0 0 64 Nov 28 22:00 5 -> /dev/ublkb0",
      "fd lrwx------ 1 0 0 64 Nov 28 22:00 6 -> /dev/ublkb0",
    ),
    "in use by an ext4 filesystem that is unmounted and not let go of yet, " +
      "swapped to (/dev/ublkb0p2), held by md0, held by dm-1 (vg-root) and 2 more",
  );
  assertEquals(text("self 7", "dev 259:0", "fd /proc/20/fd:"), "");
});

Deno.test("mounts are told once, those of other mount namespaces with a process of theirs", () => {
  const users = parse(
    "self 7",
    "dev 259:0",
    "filesystem ext4",
    "mount /proc/10/mountinfo:90 1 259:0 / /a rw - ext4 /dev/root rw",
    "mount /proc/20/mountinfo:80 1 259:0 / /my\\040disk rw shared:3 - ext4 /dev/ublkb0 rw",
    "mount /proc/7/mountinfo:80 1 259:0 / /my\\040disk rw shared:3 - ext4 /dev/ublkb0 rw",
    "mount /proc/20/mountinfo:81 1 0:52 / /tmp/x rw - tmpfs /dev/ublkb0 rw",
    "mount /proc/20/mountinfo:83 1 8:1 / /srv rw - xfs /dev/sda1 rw,logdev=/dev/ublkb0p1,noquota",
    "mount /proc/20/mountinfo:82 1 0:53 / /pool rw - btrfs /dev/ublkb0 rw",
  );
  assertEquals(users.map((user) => user.text), [
    "mounted at /my disk",
    "mounted at /a in the mount namespace of process 10 (bash)",
    "mounted at /srv in the mount namespace of process 20 (fio)",
    "mounted at /pool in the mount namespace of process 20 (fio)",
  ]);
  assertEquals(users.map((user) => user.remedy).slice(0, 2), [
    "umount /my disk",
    "nsenter -t 10 -m umount /a",
  ]);
});

Deno.test("the mounts of a disk that is dead are found by their source", () => {
  assertEquals(
    text(
      "self 7",
      "mount /proc/7/mountinfo:80 1 259:0 / /mnt rw - ext4 /dev/ublkb0p1 rw",
      "mount /proc/7/mountinfo:81 1 0:52 / /tmp/x rw - tmpfs /dev/ublkb0 rw",
    ),
    "mounted at /mnt",
  );
});

Deno.test("a process of udev is no user, and the server is told apart", () => {
  const users = parse(
    "self 7",
    "fd /proc/30/fd:",
    "fd lr-x------ 1 0 0 64 Nov 28 22:00 5 -> /dev/ublkb0",
    "fd /proc/20/fd:",
    "fd lr-x------ 1 0 0 64 Nov 28 22:00 5 -> /dev/ublkb0p1 (deleted)",
    "fd lr-x------ 1 0 0 64 Nov 28 22:00 6 -> /dev/ublkc0",
  );
  assertEquals(users.map(({ kind, text }): [string, string] => [kind, text]), [
    ["process", "open in process 20 (fio)"],
    ["server", "served by process 20 (fio)"],
  ]);
});

Deno.test("diskUsers finds a process by its descriptor, and not that of another disk", async () => {
  // No ublk here: a file that is called so stands in, since the path of a descriptor is looked at.
  const folder = await Deno.makeTempDir();
  const id = 1_048_570;
  await Deno.writeTextFile(`${folder}/ublkb${id}`, "");
  await Deno.writeTextFile(`${folder}/ublkb${id}1`, "");
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'exec 3<"$0" 4<"${0}1"; echo open; exec sleep 60', `${folder}/ublkb${id}`],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  try {
    await reader.read();
    const users: DiskUser[] = await diskUsers(id);
    assertEquals(users, [{
      kind: "process",
      text: `open in process ${child.pid} (sleep)`,
      remedy: `end process ${child.pid}`,
    }]);
  } finally {
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    await Deno.remove(folder, { recursive: true });
  }
});
