/**
 * Users other than root, and udev, in the guest.
 *
 * udev is the host's own, started here as systemd would: without memory that is both writable and
 * executable (`MemoryDenyWriteExecute=` of systemd-udevd.service). Users have no name, no
 * capability, and see Deno, the project and Deno's cache where any user may.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { assertOneLine, commandLine, ROOT } from "../integration/_run_command.ts";
import { type Ran, sh } from "./_disk.ts";

/** Where users find what root has in its own folders. */
const FOR_ALL = "/srv/ublk-e2e";

/** The rule, once it is installed. */
export const RULE = "/etc/udev/rules.d/59-ublk.rules";

/** A user. */
export class User {
  /** Their number, and their group's. */
  readonly uid: number;

  /** The user of that number; see {@linkcode prepareUsers}. */
  constructor(uid: number) {
    this.uid = uid;
  }

  /** The user's runtime folder, as a login makes it. */
  get runtimeFolder(): string {
    return `/run/user/${this.uid}`;
  }

  /** Program and arguments that run another one as this user. */
  command(...line: string[]): string[] {
    return [
      "setpriv",
      `--reuid=${this.uid}`,
      `--regid=${this.uid}`,
      "--clear-groups",
      "--inh-caps=-all",
      ...["env", "-i", "LC_ALL=C", "NO_COLOR=1", `PATH=${Deno.env.get("PATH")}`],
      `DENO_DIR=${FOR_ALL}/cache-${this.uid}`,
      ...line,
    ];
  }

  /** Runs a bash script that stops at the first failure. */
  async sh(script: string, env: Record<string, string> = {}): Promise<Ran> {
    const set = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    return await ran(this.command(...set, "bash", "-euo", "pipefail", "-c", script));
  }

  /** Runs `ublk` as its task in `deno.json` does; `wrap` goes before it. */
  async ublk(args: readonly string[], wrap: readonly string[] = []): Promise<Ran> {
    const [, ...rest] = commandLine("ublk", args);
    return await ran(this.command(...wrap, `${FOR_ALL}/deno`, ...rest), `${FOR_ALL}/project`);
  }

  /** Runs an `ublk` that must succeed, and returns what it printed. */
  async done(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.ublk(args);
    assertEquals([code, stderr], [0, ""], `ublk ${args.join(" ")}`);
    return stdout;
  }

  /** Runs an `ublk` that this user may not: one line says so. */
  async refused(...args: string[]): Promise<void> {
    assertOneLine(await this.ublk(args), 1, /this user|not let/);
  }
}

async function ran([program, ...args]: readonly string[], cwd = "/"): Promise<Ran> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, cwd, stdin: "null" })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Gives users what they need, and each a cache and a runtime folder of their own. */
export async function prepareUsers(...users: readonly User[]): Promise<void> {
  await sh(
    `
    mkdir -p $all/project && chmod 755 $all
    [ -e $all/deno ] || touch $all/deno
    mountpoint -q $all/deno || mount --bind "$deno" $all/deno
    mountpoint -q $all/project || mount --bind "$root" $all/project
    `,
    { all: FOR_ALL, deno: await Deno.realPath(Deno.execPath()), root: ROOT },
  );
  const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  for (const { uid, runtimeFolder } of users) {
    const own = `${FOR_ALL}/cache-${uid}`;
    await sh(
      `
      mkdir -p $own $run && chmod 700 $own $run
      # All of it: Deno wants what deno.lock names before it starts any program of a checkout.
      cp -r $cache/npm $own/
      chown -R $uid:$uid $own $run
      `,
      { uid: `${uid}`, run: runtimeFolder, own, cache },
    );
  }
}

/** Starts udev, and has it look at what there is, as at boot. */
export async function startUdev(): Promise<void> {
  // 157 is prctl on x86-64, 65 PR_SET_MDWE, 1 PR_MDWE_REFUSE_EXEC_GAIN.
  // Asked, not looked for: a udev that has ended leaves its socket behind.
  await sh(`
    udevadm control --ping --timeout=10 2>/dev/null || perl -e '
      syscall(157, 65, 1, 0, 0, 0) == 0 or die "PR_SET_MDWE: $!";
      exec @ARGV' /lib/systemd/systemd-udevd --daemon
    udevadm trigger --action=add --subsystem-match=misc --subsystem-match=mem
    udevadm settle
  `);
}

/** Owner, group and mode of a node. */
export async function ownership(path: string): Promise<string> {
  return await sh('stat -c "%u:%G %a" "$path"', { path });
}
