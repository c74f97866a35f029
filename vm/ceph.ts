/**
 * A real object store for tests: Ceph's S3 gateway with one monitor and one disk, of Debian's packages
 * in a chroot of their own.
 *
 * The packages are unpacked into the cache and never installed. Each daemon runs in the chroot with a
 * mount namespace of its own: the state is a temporary folder, and everything is gone with the
 * process. It needs root.
 *
 * @module
 */

import { candidate, downloadClosure, updateLists } from "./apt.ts";
import { cacheDir, exists, lock, say, VmError } from "./host.ts";

/** Older ones fail at conditional writes. */
const LEAST_MAJOR = 20;
const PACKAGES = ["radosgw", "ceph-mon", "ceph-osd", "ceph-common", "base-files", "dash"];
const PROGRAMS = ["coreutils", "libc-bin"];
/** How long the packages may take to come, in milliseconds. */
const INSTALL_MS = 240_000;
/** How long the gateway may take to answer, in milliseconds. */
const START_MS = 120_000;

/** Begins the names of folders with a cluster's state. */
const PREFIX = "ublk-ceph-";

/** The keys of the user that owns the buckets. They open nothing but this store. */
export const CEPH_KEYS = {
  accessKeyId: "AK-of-the-tests",
  secretAccessKey: "SK-of-the-tests",
} as const;

/** Mounts what a daemon needs, and becomes it, with the same process id. */
const ENTER = `
root=$0 state=$1; shift
mount -t proc proc "$root/proc" && mount -t tmpfs none "$root/dev" || exit 1
for device in null zero random urandom; do
  : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mount --bind "$state" "$root/mnt" || exit 1
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C "$@"`;

/** A daemon. */
export type CephDaemon = "mon" | "osd" | "rgw";

/** The root of the chroot. Downloads it if it is not in the cache. */
export async function ensureCeph(signal?: AbortSignal): Promise<string> {
  const root = `${cacheDir()}/ceph`;
  if (await exists(root)) return root;
  using _lock = await lock("cache", "another run is filling the cache; waiting for it", signal);
  if (await exists(root)) return root;
  const timer = setTimeout(() => {
    say(`Ceph's packages did not come within ${INSTALL_MS / 1000} s: is the network slow?`);
    Deno.exit(1);
  }, INSTALL_MS);
  try {
    await updateLists();
    const version = await candidate("radosgw");
    if (Number.parseInt(version ?? "0") < LEAST_MAJOR) {
      throw new VmError(`Debian has Ceph ${version}; its conditional writes fail before 20`);
    }
    const temporary = `${root}.tmp`;
    await Deno.remove(temporary, { recursive: true }).catch(() => {}); // Debris of a killed run.
    await downloadClosure([...PACKAGES, ...PROGRAMS], temporary);
    await Deno.mkdir(`${temporary}/mnt`, { recursive: true });
    await Deno.rename(temporary, root);
  } finally {
    clearTimeout(timer);
  }
  return root;
}

/** A cluster that runs. */
export class Ceph implements AsyncDisposable {
  /** The URL of the gateway. */
  readonly endpoint: string;
  readonly #root: string;
  readonly #state: string;
  readonly #fsid = crypto.randomUUID();
  /** Held as long as this process lives. */
  readonly #lock: Deno.FsFile;
  readonly #running = new Map<CephDaemon, Deno.ChildProcess>();

  private constructor(root: string, state: string, port: number) {
    this.#root = root;
    this.#state = state;
    this.#lock = Deno.openSync(`${state}/lock`, { write: true, create: true });
    this.#lock.lockSync(true);
    this.endpoint = `http://127.0.0.1:${port}`;
  }

  /** A folder that its programs see as `/mnt`. */
  get folder(): string {
    return this.#state;
  }

  /** Makes and starts a cluster. @throws {VmError} */
  static async start(signal?: AbortSignal): Promise<Ceph> {
    if (Deno.uid() !== 0) throw new VmError("Ceph in a chroot needs root");
    const root = await ensureCeph(signal);
    await removeLeftovers();
    const state = await Deno.makeTempDir({ prefix: PREFIX });
    const [v2, v1, http] = freePorts(3);
    const ceph = new Ceph(root, state, http);
    try {
      await ceph.#make(v1, v2, http);
      return ceph;
    } catch (error) {
      await ceph[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts a daemon that was killed. */
  async start(daemon: CephDaemon): Promise<void> {
    const words = {
      mon: ["ceph-mon", "-i", "a"],
      osd: ["ceph-osd", "-i", "0"],
      rgw: ["radosgw", "-n", "client.admin"],
    }[daemon];
    const [program, ...args] = [...words, "-c", "/mnt/ceph.conf", "-f"];
    this.#running.set(daemon, this.#command(program, args, true).spawn());
    if (daemon === "rgw") await this.#answers();
  }

  /** Kills a daemon with SIGKILL, and waits for its end. */
  async kill(daemon: CephDaemon): Promise<void> {
    const child = this.#running.get(daemon);
    if (child === undefined) return;
    this.#running.delete(daemon);
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await child.status;
  }

  /** Runs one of Ceph's commands. @returns What it prints. @throws {VmError} */
  async run(program: string, ...args: string[]): Promise<string> {
    const command = this.#command(program, ["-c", "/mnt/ceph.conf", ...args]);
    const { success, stdout, stderr } = await command.output();
    if (success) return new TextDecoder().decode(stdout);
    const told = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
    throw new VmError(`${program} ${args.join(" ")}: ${told}`);
  }

  /** Kills all of it, and removes its state. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of ["rgw", "osd", "mon"] as const) await this.kill(daemon);
    this.#lock.close();
    await Deno.remove(this.#state, { recursive: true });
  }

  async #make(v1: number, v2: number, http: number): Promise<void> {
    const addresses = `[v2:127.0.0.1:${v2},v1:127.0.0.1:${v1}]`;
    await Deno.writeTextFile(
      `${this.#state}/ceph.conf`,
      configuration(this.#fsid, addresses, http),
    );
    for (const folder of ["mon", "osd", "rgw"]) await Deno.mkdir(`${this.#state}/${folder}`);
    const map = ["--create", "--fsid", this.#fsid, "--addv", "a", addresses, "/mnt/monmap"];
    await this.run("monmaptool", ...map);
    await this.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", "/mnt/monmap");
    await this.start("mon");
    await this.run("ceph", "osd", "new", this.#fsid, "0");
    await this.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", this.#fsid);
    await this.start("osd");
    const { accessKeyId, secretAccessKey } = CEPH_KEYS;
    const keys = ["--access-key", accessKeyId, "--secret-key", secretAccessKey];
    await this.run("radosgw-admin", "user", "create", "--uid=u", "--display-name=u", ...keys);
    await this.start("rgw");
  }

  #command(program: string, args: readonly string[], isDaemon = false): Deno.Command {
    return new Deno.Command("setpriv", {
      args: [
        ...["--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", ENTER],
        ...[this.#root, this.#state, program, ...args],
      ],
      stdin: "null",
      ...{ stdout: isDaemon ? "null" : "piped", stderr: isDaemon ? "null" : "piped" },
    });
  }

  /** Waits until the gateway answers. */
  async #answers(): Promise<void> {
    const end = performance.now() + START_MS;
    while (performance.now() < end) {
      try {
        await (await fetch(this.endpoint)).body?.cancel();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    const log = await Deno.readTextFile(`${this.#state}/client.admin.log`).catch(() => "");
    throw new VmError(`Ceph's gateway does not answer: ${log.trim().split("\n").at(-1)}`);
  }
}

function configuration(fsid: string, addresses: string, http: number): string {
  return `[global]
fsid = ${fsid}
mon host = ${addresses}
auth cluster required = none
auth service required = none
auth client required = none
# The gateway wants a secure connection, which there is not without keys.
ms mon client mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
# One monitor has nobody to collect changes for.
paxos propose interval = 0.01
paxos min wait = 0.01
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
run dir = /mnt
admin socket = /mnt/$name.asok
log file = /mnt/$name.log
crash dir = /mnt
keyring = /mnt/keyring
[mon.a]
mon data = /mnt/mon
[osd.0]
osd data = /mnt/osd
osd objectstore = bluestore
bluestore block size = ${4 * 2 ** 30}
bluestore cache autotune = false
bluestore cache size = ${64 << 20}
[client.admin]
rgw data = /mnt/rgw
rgw frontends = beast endpoint=127.0.0.1:${http} tcp_nodelay=1
`;
}

/** Removes the state of clusters whose process was killed. */
async function removeLeftovers(): Promise<void> {
  const folder = Deno.env.get("TMPDIR") ?? "/tmp";
  for (const { name } of Deno.readDirSync(folder)) {
    if (!name.startsWith(PREFIX)) continue;
    try {
      using lock = await Deno.open(`${folder}/${name}/lock`, { write: true });
      if (await lock.tryLock(true)) await Deno.remove(`${folder}/${name}`, { recursive: true });
    } catch (error) {
      // It is being made, or being removed.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Ports that nobody uses at the moment. */
function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map((listener) => listener.addr.port);
  for (const listener of listeners) listener.close();
  return ports;
}

if (import.meta.main) {
  const from = performance.now();
  try {
    const root = await ensureCeph();
    console.log(`${root} (${Math.round((performance.now() - from) / 1000)} s)`);
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    say(error.message);
    Deno.exit(1);
  }
}
