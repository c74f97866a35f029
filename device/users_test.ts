import { assert, assertEquals, assertRejects } from "@std/assert";
import { BaseHandler, getLogger, type LevelName } from "@std/log";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { LOGGER } from "./log.ts";
import { type DiskUser, diskUsers, parseUsers, usersText, warnUsers } from "./users.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

/** Added to numbers: a look sees the processes of other suites and runs on this machine too. */
const RUN = Deno.pid % 10_000;

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
  const id = 1_020_000 + RUN;
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

/** A number that no device has. */
const ABSENT = 1_030_000 + RUN;

/** Starts a look which finds a script of the test's own under the name of `ls`. */
async function withLs(
  ls: string,
  look: () => Promise<void>,
  then?: (folder: string) => Promise<void>,
) {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/ls`, `#!/bin/sh\n${ls.replaceAll("FOLDER", folder)}\n`, {
    mode: 0o700,
  });
  const path = Deno.env.get("PATH")!;
  try {
    Deno.env.set("PATH", `${folder}:${path}`);
    const looked = look();
    Deno.env.set("PATH", path);
    await looked;
    await then?.(folder);
  } finally {
    Deno.env.set("PATH", path);
    await Deno.remove(folder, { recursive: true });
  }
}

// The shell was killed; what it had started kept its stdout open, and the look went on.
Deno.test("diskUsers is bounded in time, whatever hangs of the programs that look", async () => {
  const started = performance.now();
  await withLs("exec sleep 12", async () => {
    const error = await assertRejects(() => diskUsers(ABSENT, 200), UblkError);
    assertEquals(
      error.message,
      `look for the users of /dev/ublkb${ABSENT} (device ${ABSENT}): /proc, grep, ls, sed or xargs ` +
        "is missing, or it was not done in 0.2 s; try again, or go on without it: --force",
    );
  });
  assert(performance.now() - started < 10_000);
});

// A bare Deno error ended `ublk del -a` for all devices.
Deno.test("diskUsers that cannot start a shell throws a UblkError with the way by force", async () => {
  const { Command } = Deno;
  const broken = class {
    spawn() {
      throw new Error("Resource temporarily unavailable (os error 11)");
    }
  };
  Object.defineProperty(Deno, "Command", { value: broken, configurable: true });
  try {
    const error = await assertRejects(() => diskUsers(ABSENT), UblkError);
    assertEquals(
      error.message,
      `look for the users of /dev/ublkb${ABSENT} (device ${ABSENT}): start /bin/sh: Resource ` +
        "temporarily unavailable (os error 11); see `ulimit -u` and `ulimit -n`, and whether there " +
        "is a /bin/sh; try again, or go on without it: --force",
    );
  } finally {
    Object.defineProperty(Deno, "Command", { value: Command, configurable: true });
  }
});

Deno.test("diskUsers that is missing a part of its look throws", async () => {
  await withLs("kill -9 $$", async () => {
    await assertRejects(() => diskUsers(ABSENT), UblkError, "xargs is missing");
  });
});

// grep and ls were given the files of all processes at once: above 65,000 of them the kernel started
// neither, and a disk that was mounted counted as one that nobody uses.
Deno.test("diskUsers looks at more processes than a command line has room for", async () => {
  const processes = 300;
  const folder = await Deno.makeTempDir();
  const disk = `${folder}/ublkb${ABSENT}`;
  await Deno.writeTextFile(disk, "");
  const script = `exec 3<&0; i=0
    while [ $i -lt ${processes} ]; do cat <&3 >/dev/null & i=$((i+1)); done
    cat <&3 4<"$0" >/dev/null & echo $!; wait`;
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", script, disk],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  // The environment leaves room for the script, and not for `/proc/PID/fd` of all the processes.
  const getconf = new Deno.Command("getconf", { args: ["ARG_MAX"] }).outputSync();
  const room = Math.min(Number(new TextDecoder().decode(getconf.stdout)), 6 << 20);
  const own = Object.entries(Deno.env.toObject())
    .reduce((sum, [name, value]) => sum + name.length + value.length + 10, 0);
  const filling: string[] = [];
  for (let left = room - own - 7_500; left > 0; left -= 100_000) {
    const name = `FILL${filling.length}`.padEnd(8, "_");
    filling.push(name);
    Deno.env.set(name, "x".repeat(Math.max(1, Math.min(left, 100_000) - name.length - 10)));
  }
  const reader = child.stdout.getReader();
  try {
    const pid = Number(new TextDecoder().decode((await reader.read()).value));
    const looking = diskUsers(ABSENT, 60_000);
    for (const name of filling) Deno.env.delete(name);
    assertEquals((await looking).map((user) => user.text), [`open in process ${pid} (cat)`]);
  } finally {
    for (const name of filling) Deno.env.delete(name);
    await child.stdin.close();
    await child.status;
    await reader.cancel();
    await Deno.remove(folder, { recursive: true });
  }
});

class Handler extends BaseHandler {
  constructor(level: LevelName, override readonly log: (text: string) => void) {
    super(level, { formatter: ({ msg }) => msg });
  }
}

// Each stop at a signal waited for the look, however long that took.
Deno.test("warnUsers waits a moment only, and tells later what it finds later", async () => {
  const logger = getLogger(LOGGER);
  const { promise: logged, resolve } = Promise.withResolvers<string>();
  const { handlers, levelName } = logger;
  logger.levelName = "INFO";
  logger.handlers = [new Handler("INFO", resolve)];
  try {
    await withLs(
      `until [ -e FOLDER/go ]; do sleep 0.02; done
      echo /proc/1/fd:; echo "lrwx------ 1 0 0 64 Nov 28 22:00 5 -> /dev/ublkb${ABSENT}"`,
      () => warnUsers(ABSENT, 20),
      async (folder) => {
        await Deno.writeTextFile(`${folder}/go`, "");
        const text = await logged;
        assertEquals(
          text.replace(/\(.*?\)/, "(NAME)"),
          `/dev/ublkb${ABSENT} is open in process 1 (NAME); it goes all the same`,
        );
      },
    );
  } finally {
    Object.assign(logger, { handlers, levelName });
  }
});
