/**
 * `systemd/ublk@.service` under a real systemd: process 1 of namespaces of its own, with no units but
 * ours and the targets that every service needs.
 * And udev's links to its disk. As `docs/systemd.md` has it.
 */

import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { commandLine, ROOT, runCommand } from "../integration/_run_command.ts";
import { list, nodes, sleep, within } from "./_command.ts";
import { attempt, type Ran, sh, temporaryFolder } from "./_disk.ts";
import { startUdev } from "./_users.ts";

const ID = 8;
const UNIT = `ublk@${ID}.service`;
const DISK = `/dev/ublkb${ID}`;

/** A systemd that runs for a test. */
class Systemd implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #pid: number;

  private constructor(child: Deno.ChildProcess, pid: number) {
    this.#child = child;
    this.#pid = pid;
  }

  /** Starts it with the units in a folder; resolves once it answers. */
  static async start(units: string): Promise<Systemd> {
    const child = new Deno.Command("unshare", {
      args: [
        ...["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--cgroup"],
        ...["/lib/systemd/systemd", "--system", "--unit=ready.target"],
      ],
      env: {
        container: "ublk-test",
        SYSTEMD_UNIT_PATH: units,
        SYSTEMD_LOG_TARGET: "null",
      },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const children = `/proc/${child.pid}/task/${child.pid}/children`;
    await until(
      "a process of systemd",
      async () => (await Deno.readTextFile(children)).trim() !== "",
    );
    const systemd = new Systemd(child, Number((await Deno.readTextFile(children)).trim()));
    try {
      await until(
        "systemd",
        async () => (await systemd.control("is-active", "ready.target")).stdout === "active\n",
      );
    } catch (error) {
      await systemd[Symbol.asyncDispose]();
      throw error;
    }
    return systemd;
  }

  /** Runs systemctl beside it. */
  control(...args: string[]): Promise<Ran> {
    return attempt('nsenter --target "$pid" --pid --mount systemctl $args', {
      pid: `${this.#pid}`,
      args: args.join(" "),
    });
  }

  /** Shuts the system down, and resolves once its process 1 has ended. */
  async powerOff(): Promise<void> {
    // What `systemctl poweroff` asks for, which would ask logind for it.
    const { code, stderr } = await this.control(
      ...["start", "--no-block", "--job-mode=replace-irreversibly", "poweroff.target"],
    );
    assertEquals([code, stderr], [0, ""]);
    await within(this.#child.status, "shutdown");
  }

  /** Runs a script in its mount namespace. */
  async sh(script: string, env: Record<string, string>): Promise<void> {
    const { code, stdout, stderr } = await attempt(
      'nsenter --target "$pid" --pid --mount bash -euo pipefail -c "$script"',
      { ...env, pid: `${this.#pid}`, script },
    );
    assertEquals(code, 0, stdout + stderr);
  }

  /** A property of our unit. */
  async property(name: string): Promise<string> {
    const { stdout } = await this.control("show", "--value", "--property", name, UNIT);
    return stdout.trim();
  }

  /** Sends a signal to the server. */
  async kill(signal: string): Promise<void> {
    const { code, stderr } = await this.control("kill", "--kill-who=main", "-s", signal, UNIT);
    assertEquals([code, stderr], [0, ""]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  await within(
    (async () => {
      while (!await condition()) await sleep(100);
    })(),
    what,
  );
}

/** The unit with a configuration, `ublk` where it looks for it, and the targets. */
async function writeUnits(folder: string, toml: string): Promise<void> {
  const units = `${folder}/units`;
  await Deno.mkdir(`${folder}/etc`);
  await Deno.writeTextFile(`${folder}/etc/${ID}.toml`, toml);
  await Deno.mkdir(`${units}/${UNIT}.d`, { recursive: true });
  for (const target of ["ready", "sysinit", "basic", "shutdown", "multi-user"]) {
    const text = `[Unit]\nDescription=${target}\nDefaultDependencies=no\n`;
    await Deno.writeTextFile(`${units}/${target}.target`, text);
  }
  const unit = await Deno.readTextFile(`${ROOT}/systemd/ublk@.service`);
  const program = `${folder}/ublk`;
  const line = commandLine("ublk", []).map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(program, `#!/bin/sh\ncd '${ROOT}' && exec ${line} "$@"\n`, {
    mode: 0o755,
  });
  await Deno.writeTextFile(
    `${units}/ublk@.service`,
    unit.replace("/usr/local/bin/ublk", program).replace("/etc/ublk/%i", `${folder}/etc/%i`),
  );
  const environment = Object.entries(Deno.env.toObject())
    .filter(([name]) => ["PATH", "HOME", "DENO_DIR"].includes(name))
    .map(([name, value]) => `Environment="${name}=${value}"\n`).join("");
  await Deno.writeTextFile(
    `${units}/${UNIT}.d/test.conf`,
    `[Service]\n${environment}WatchdogSec=10\nRestartSec=100ms\n` +
      `ExecStopPost=/bin/sh -c 'echo "$SERVICE_RESULT" >>${folder}/results'\n` +
      `StandardOutput=append:${folder}/log\nStandardError=append:${folder}/log\n`,
  );
}

Deno.test("ublk@.service starts, is watched, recovers its disk after each death, and stops", async () => {
  await using folder = await temporaryFolder();
  const at = folder.path;
  await writeUnits(
    at,
    `type = "loop"\nfiles = ["../disk"]\ncreate = true\nsize = "64M"\nrecovery = "reissue"\n`,
  );
  await using systemd = await Systemd.start(`${at}/units`);
  const logs = async () => await Deno.readTextFile(`${at}/log`);

  // `start` returns once the server has said READY, and not before: the disk opens.
  const started = await systemd.control("start", UNIT);
  assertEquals(started.code, 0, started.stderr + await logs());
  await sh("mkfs.ext4 -q $disk; mkdir $at/m; mount $disk $at/m; cp /bin/true $at/m/a", {
    at,
    disk: DISK,
  });
  try {
    assertEquals(await systemd.property("ActiveState"), "active");
    assertMatch(await systemd.property("StatusText"), /^serving \/dev\/ublkb8: 64 MiB/);
    assertEquals((await list()).map(({ state }) => state), ["live"]);

    // Killed, and stopped with no sign of life: each time another one goes on with the mounted disk.
    const results: string[] = [];
    for (const [signal, result] of [["SIGKILL", "signal"], ["SIGSTOP", "watchdog"]]) {
      const before = await systemd.property("MainPID");
      const restarts = Number(await systemd.property("NRestarts"));
      await systemd.kill(signal);
      await until(
        `a restart after ${signal}`,
        async () =>
          Number(await systemd.property("NRestarts")) === restarts + 1 &&
          await systemd.property("ActiveState") === "active",
      );
      assertNotEquals(await systemd.property("MainPID"), before);
      results.push(result);
      assertEquals((await Deno.readTextFile(`${at}/results`)).trim().split("\n"), results);
      await sh(
        "echo 3 > /proc/sys/vm/drop_caches; cmp /bin/true $at/m/a; cp /bin/true $at/m/$signal; sync -f $at/m",
        { at, signal },
      );
    }
    // It is watched and nothing happens, for longer than the limit.
    const restarts = await systemd.property("NRestarts");
    await sleep(12_000);
    assertEquals(await systemd.property("NRestarts"), restarts);
  } finally {
    await sh("umount $at/m", { at });
  }
  await sh("fsck.ext4 -fn $disk 2>&1", { disk: DISK });
  const stopped = await systemd.control("stop", UNIT);
  assertEquals([stopped.code, nodes()], [0, []], stopped.stderr + await logs());
  assertEquals(await systemd.property("ActiveState"), "inactive");
  assertEquals(await systemd.property("Result"), "success");
});

Deno.test("ublk@.service is started again until its file is there", async () => {
  await using folder = await temporaryFolder();
  const at = folder.path;
  await writeUnits(at, `type = "loop"\nfiles = ["../disk"]\n`);
  await using systemd = await Systemd.start(`${at}/units`);
  assertEquals((await systemd.control("start", UNIT)).code, 1);
  await until("another try", async () => Number(await systemd.property("NRestarts")) > 0);
  await sh("truncate -s 64M $at/disk", { at });
  await until("its start", async () => await systemd.property("ActiveState") === "active");
  assertEquals((await list()).map(({ state, size }) => [state, size]), [["live", 64 << 20]]);
  assertEquals((await systemd.control("stop", UNIT)).code, 0);
});

Deno.test("ublk@.service with a mistake in its configuration fails and is not started again", async () => {
  await using folder = await temporaryFolder();
  const at = folder.path;
  await writeUnits(at, `# A target that is not there.\ntype = "tape"\n`);
  await using systemd = await Systemd.start(`${at}/units`);
  const { code } = await systemd.control("start", UNIT);
  assertEquals(code, 1);
  await sleep(1000);
  const { stdout } = await systemd.control(
    ...["show", "--property", "ActiveState,ExecMainStatus,NRestarts", UNIT],
  );
  assertEquals(
    stdout.trim().split("\n").sort(),
    ["ActiveState=failed", "ExecMainStatus=2", "NRestarts=0"],
  );
  assertMatch(
    await Deno.readTextFile(`${at}/log`),
    /^ublk: error: \S+\/etc\/8\.toml:2:8: type: there is no target tape; /m,
  );
});

/**
 * What a real system shuts down by, in place of the stand-ins. Not all that systemd has: its
 * `sysinit.target` would set up, and clean up, what this machine shares with us.
 */
async function addShutdown(units: string): Promise<void> {
  await sh(
    `
    for unit in {local-fs,local-fs-pre,remote-fs-pre,swap,umount,final,shutdown,poweroff,blockdev@}.target \
      systemd-poweroff.service; do
      cp /lib/systemd/system/$unit $units/
    done
    # Local filesystems are there before services, and so go after them: also one that is mounted later.
    echo 'Conflicts=shutdown.target
    Wants=local-fs.target
    After=local-fs.target' >>$units/sysinit.target
    echo Wants=sysinit.target >>$units/ready.target
    `,
    { units },
  );
}

Deno.test("ublk@.service outlasts at shutdown what is mounted on its disk by hand, also by way of another device", async () => {
  await using folder = await temporaryFolder();
  const at = folder.path;
  await writeUnits(at, `type = "loop"\nfiles = ["../disk"]\ncreate = true\nsize = "64M"\n`);
  await addShutdown(`${at}/units`);
  const env = { at, disk: DISK };
  {
    await using systemd = await Systemd.start(`${at}/units`);
    const { code, stderr } = await systemd.control("start", UNIT);
    assertEquals(code, 0, stderr);
    // Nothing of the files has been written when the shutdown begins.
    await systemd.sh(
      `
      echo 'start=1M,size=24M
      start=32M' | sfdisk --quiet $disk
      mkdir $at/m1 $at/m2
      mkfs.ext4 -q "$disk"p1 && mount "$disk"p1 $at/m1
      mkfs.ext4 -q "$disk"p2 && mount -o loop "$disk"p2 $at/m2
      for part in 1 2; do
        head -c 4M /dev/urandom >$at/m$part/a
        cp $at/m$part/a $at/a$part
      done
      `,
      env,
    );
    await systemd.powerOff();
  }
  assertEquals(nodes(), []);
  assertMatch(await Deno.readTextFile(`${at}/log`), /SIGTERM: stopping \/dev\/ublkb8/);
  // Unmounted in good order: there is no journal to replay, and nothing is missing.
  await sh(
    `
    for part in 1 2; do
      offset=$(( part == 1 ? 1 << 20 : 32 << 20 ))
      loop=$(losetup --find --show --read-only --offset=$offset $at/disk)
      mkdir -p $at/n && mount -o ro,noload $loop $at/n
      cmp $at/a$part $at/n/a
      umount $at/n
      ! dumpe2fs -h $loop 2>&1 | grep needs_recovery
      losetup -d $loop
    done
    `,
    env,
  );
});

Deno.test("61-ublk-links.rules has disks and partitions found by UUID and label, as others are", async () => {
  await sh("$install --links", { install: `${ROOT}/udev/install.sh` });
  await startUdev();
  const { code, stderr } = await runCommand("ublk", [
    "add",
    "-t",
    "mem",
    "-n",
    "8",
    "--size",
    "64M",
  ]);
  assertEquals([code, stderr], [0, ""]);
  const [disk, filesystem, part] = [1, 2, 3].map(() => crypto.randomUUID());
  const links = () =>
    // The folder itself goes with its last link.
    sh("udevadm settle; for l in /dev/disk/by-*/*; do echo ${l#/dev/disk/} $(readlink -f $l); done")
      .then((text) => text.split("\n").filter((line) => line.includes("ublkb")));
  try {
    // While udev looks at a new device it does not watch it yet: what is written meanwhile is missed.
    await sh("udevadm settle");
    // On the whole disk first: made after the disk was, which udev has to notice.
    await sh("mkfs.ext4 -q -U $uuid -L whole $disk", { uuid: disk, disk: DISK });
    const whole = (await links()).filter((line) => !line.startsWith("by-diskseq/"));
    assertEquals(whole, [`by-label/whole ${DISK}`, `by-uuid/${disk} ${DISK}`]);
    await sh(
      `
      wipefs -qa $disk
      udevadm settle
      echo 'start=1M,uuid='$part',name=piece' | sfdisk --quiet --label gpt $disk
      udevadm settle
      mkfs.ext4 -q -U $uuid -L inner "$disk"p1
      `,
      { uuid: filesystem, part, disk: DISK },
    );
    const divided = await links();
    for (
      const link of [
        ...["by-label/inner", `by-uuid/${filesystem}`],
        ...["by-partlabel/piece", `by-partuuid/${part}`],
      ]
    ) assert(divided.includes(`${link} ${DISK}p1`), `${link} among\n${divided.join("\n")}`);
    assert(!divided.some((line) => line.includes(disk)), "what is gone is not found");
  } finally {
    await runCommand("ublk", ["del", "-a"]);
  }
  assertEquals(await links(), []);
  await sh("udevadm control --exit");
});
