/**
 * `systemd/ublk@.service` under a real systemd: process 1 of namespaces of its own, with no units but
 * ours and the targets that every service needs.
 * As `docs/systemd.md` has it.
 */

import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { commandLine, ROOT } from "../integration/_run_command.ts";
import { list, nodes, sleep, within } from "./_command.ts";
import { attempt, type Ran, sh, temporaryFolder } from "./_disk.ts";

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
    /^ublk: error: \S+\/etc\/8\.toml:2: --type: there is no target tape; /m,
  );
});
