/**
 * The disks to compare, each started as a user would start it, with the same parameters: one queue,
 * depth 128, requests up to 1 MiB (which are built into `kublk`).
 *
 * @module
 */

import type { DiskName } from "./plan.ts";
import { LineProcess, run } from "./process.ts";

/** A served disk. */
export interface Disk extends AsyncDisposable {
  /** The name of the disk and its server. */
  readonly name: DiskName;
  /** The disk's node. */
  readonly path: string;
  /** The process that serves the disk, if any. */
  readonly pid?: number;
}

const DEPTH = "128";
const PROJECT = new URL("..", import.meta.url).pathname;
/** The default of `kublk`. */
const COPY = ["--data-path", "copy"];
/** Larger than the CPU's caches, small enough for the guest. */
const FILE_BYTES = 64 << 20;
/** The size of a file that fits into a filesystem on a RAM disk. */
const SMALL_BYTES = 48 << 20;
/** The size of a journal that fits there too. A sample of writes uses several times as much. */
const JOURNAL_BYTES = 32 << 20;

/** Our modules that differ in how they answer. */
const KINDS = "./bench/bed/kinds.ts";

// As in `deno.json`.
const PERMISSIONS = [
  "--no-prompt",
  "--allow-ffi",
  "--allow-read",
  "--allow-write=/run/ublk",
  "--allow-net",
  "--allow-run=/bin/sh",
  "--allow-sys",
];

/**
 * Starts one of our commands. Resolves once it reports that its disk can be opened.
 *
 * @param v8Flags Flags for V8. Its output counts as lines of the server.
 */
export async function startOurs(
  name: "ublk-null" | "ublk-mem",
  args: readonly string[],
  v8Flags?: string,
): Promise<Disk & { server: LineProcess }> {
  const command = [`cmd/${name}.ts`, ...args];
  // V8 prints through C's stdio, which would buffer lines. stdbuf uses LD_PRELOAD, and with that in the
  // environment Deno refuses to start a child unless --allow-run is unrestricted, so give it -A.
  const server = v8Flags === undefined
    ? new LineProcess(Deno.execPath(), ["run", "--no-check", ...PERMISSIONS, ...command], PROJECT)
    : new LineProcess(
      "stdbuf",
      ["-oL", Deno.execPath(), "run", "--no-check", "-A", `--v8-flags=${v8Flags}`, ...command],
      PROJECT,
    );
  const path = await server.line(/^\/dev\/ublkb\d+$/);
  return {
    name,
    path,
    pid: server.pid,
    server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/**
 * Starts a disk and sets its I/O scheduler to `none`. By default the kernel uses `mq-deadline` for
 * ublk's single queue, but `none` for its loop device.
 */
export async function startDisk(name: DiskName, kublk = ""): Promise<Disk> {
  const disk = await serveDisk(name, kublk);
  await Deno.writeTextFile(`${sysfs(disk)}/queue/scheduler`, "none");
  return disk;
}

async function serveDisk(name: DiskName, kublk: string): Promise<Disk> {
  const common = ["--queues", "1", "--depth", DEPTH, "--max-io", "1M"];
  switch (name) {
    case "ublk-null":
      return await startOurs(name, common);
    case "ublk-null-batch":
      return await startUblk(name, ["-t", "null", "--batch"]);
    case "ublk-file":
      return await startUblk(name, ["-t", "loop", "--direct", ...COPY, await ramDisk(0)]);
    case "ublk-file-zc":
      return await startUblk(name, ["-t", "loop", "--direct", "--auto_zc", await ramDisk(0)]);
    case "ublk-volume":
      return await startVolume(name, await ext4On(2));
    case "ublk-file-ext4": {
      const file = `${await ext4On(3)}/file`;
      await run("dd", ["if=/dev/zero", `of=${file}`, "bs=1M", `count=${SMALL_BYTES >> 20}`]);
      return await startUblk(name, ["-t", "loop", "--direct", ...COPY, file]);
    }
    case "ublk-mem":
      return await startOurs(name, [...common, "--size", String(FILE_BYTES)]);
    case "kublk-null":
      return await startKublk(name, kublk, ["-t", "null"]);
    case "kublk-null-batch":
      return await startKublk(name, kublk, ["-t", "null", "-b"]);
    case "kublk-file":
      return await startKublk(name, kublk, ["-t", "loop", await ramDisk(1)]);
    case "kublk-file-zc":
      return await startKublk(name, kublk, ["-t", "loop", "--auto_zc", await ramDisk(1)]);
    case "kublk-loop":
      return await startKublk(name, kublk, ["-t", "loop", await fileOnTmpfs(name)]);
    case "ublk-synchronous":
    case "ublk-unflagged":
    case "ublk-async":
    case "ublk-awaits":
      return await startKind(name, name.slice("ublk-".length));
    case "ublk-async-cow":
      return await startKind(name, "async", ["--wrap", "cow:/dev/shm/bench-overlay"]);
    case "ublk-async-cache":
      return await startKind(name, "async", ["--wrap", "cache:128M"]);
    case "ublk-object":
      return await startObject(name);
    case "nbd-mem":
      return await startNbd(name);
    case "nbdkit-memory":
      return await startNbdkit(name, ["memory", String(FILE_BYTES)]);
    case "nbdkit-python":
      return await startNbdkit(name, ["python", "bench/bed/nbdkit.py"]);
    case "nbdkit-perl":
      return await startNbdkit(name, ["perl", "bench/bed/nbdkit.pl"]);
    case "kernel-loop": {
      const file = await fileOnTmpfs(name);
      const path = (await run("losetup", ["--find", "--show", file])).trim();
      return {
        name,
        path,
        [Symbol.asyncDispose]: async () => void await run("losetup", ["--detach", path]),
      };
    }
  }
}

/** A volume as large as the file beside it, whose journal is in a folder, and whose store is not. */
async function startVolume(name: DiskName, folder: string): Promise<Disk> {
  const place = ["bench", "--store", "/dev/shm/bench-volume"];
  const create = ["cmd/ublk-volume.ts", "create", ...place, "--size", `${SMALL_BYTES}`];
  await run(Deno.execPath(), ["run", "--no-check", "-A", ...create]);
  const journal = ["--journal", folder, "--journal-size", `${JOURNAL_BYTES}`];
  return await startCommand(name, "ublk-volume", ["attach", ...place, ...journal]);
}

/** Starts `ublk add`, which has flags that the single-purpose commands lack. */
async function startUblk(name: DiskName, args: readonly string[]): Promise<Disk> {
  return await startCommand(name, "ublk", ["add", ...args]);
}

async function startCommand(
  name: DiskName,
  program: string,
  args: readonly string[],
): Promise<Disk> {
  const command = [...args, "--foreground", "-q", "1", "-d", DEPTH, "--max-io", "1M"];
  const server = new LineProcess(
    Deno.execPath(),
    ["run", "--no-check", "-A", `cmd/${program}.ts`, ...command],
    PROJECT,
  );
  const line = await server.line(/^dev id \d+:/);
  return {
    name,
    path: `/dev/ublkb${line.match(/\d+/)![0]}`,
    pid: server.pid,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A module, as a target of `ublk add`. */
async function startKind(name: DiskName, kind: string, more: readonly string[] = []) {
  const options = JSON.stringify({ kind, size: FILE_BYTES });
  return await startUblk(name, ["-t", KINDS, "--options", options, ...more]);
}

/** An object in the thread that calls `serve`. */
async function startObject(name: DiskName): Promise<Disk> {
  const args = ["run", "--no-check", "-A", "bench/bed/object.ts", DEPTH, String(FILE_BYTES)];
  const server = new LineProcess(Deno.execPath(), args, PROJECT);
  const path = await server.line(/^\/dev\/ublkb\d+$/);
  return {
    name,
    path,
    pid: server.pid,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Our RAM disk over a Unix socket, with the kernel's client. */
async function startNbd(name: DiskName): Promise<Disk> {
  const socket = `/dev/shm/${name}.sock`;
  const target = ["-t", "mem", "--size", String(FILE_BYTES)];
  const args = ["run", "--no-check", "-A", "cmd/ublk-nbd.ts", "--listen", `unix:${socket}`];
  const server = new LineProcess(Deno.execPath(), [...args, ...target], PROJECT);
  await server.line(/^nbd/);
  return await connectNbd(name, socket, server);
}

/** A plugin of nbdkit's over a Unix socket, with the kernel's client. */
async function startNbdkit(name: DiskName, plugin: readonly string[]): Promise<Disk> {
  const socket = `/dev/shm/${name}.sock`;
  const server = new LineProcess("nbdkit", ["-f", "-U", socket, ...plugin], PROJECT);
  while (!exists(socket)) await new Promise((resolve) => setTimeout(resolve, 10));
  return await connectNbd(name, socket, server);
}

const NBD_DISKS: readonly DiskName[] = [
  ...["nbdkit-memory", "nbdkit-python", "nbdkit-perl", "nbd-mem"] as const,
];

async function connectNbd(name: DiskName, socket: string, server: LineProcess): Promise<Disk> {
  await run("modprobe", ["nbd", `nbds_max=${NBD_DISKS.length}`]);
  const node = `/dev/nbd${NBD_DISKS.indexOf(name)}`;
  await run("nbd-client", ["-unix", socket, node]);
  return {
    name,
    path: node,
    pid: server.pid,
    async [Symbol.asyncDispose]() {
      await run("nbd-client", ["-d", node]);
      await server[Symbol.asyncDispose]();
    },
  };
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch {
    return false;
  }
}

/** One of the kernel's RAM disks. Each server uses its own. */
async function ramDisk(number: number): Promise<string> {
  await run("modprobe", ["brd", "rd_nr=4", `rd_size=${FILE_BYTES >> 10}`]);
  return `/dev/ram${number}`;
}

/** A filesystem on one of them. @returns Its folder. */
async function ext4On(number: number): Promise<string> {
  const disk = await ramDisk(number);
  const folder = `/dev/shm/ext4-${number}`;
  await run("mkfs.ext4", ["-q", disk]);
  await Deno.mkdir(folder);
  await run("mount", [disk, folder]);
  return folder;
}

async function startKublk(name: DiskName, kublk: string, args: string[]): Promise<Disk> {
  const output = await run(kublk, [
    "add",
    ...args.slice(0, 2),
    "-q",
    "1",
    "-d",
    DEPTH,
    ...args.slice(2),
  ]);
  const id = output.match(/dev id (\d+)/)?.[1];
  const pid = output.match(/daemon pid (\d+)/)?.[1];
  if (id === undefined || pid === undefined) throw new Error(`kublk said: ${output}`);
  return {
    name,
    path: `/dev/ublkb${id}`,
    pid: Number(pid),
    [Symbol.asyncDispose]: async () => void await run(kublk, ["del", "-n", id]),
  };
}

/** A file on tmpfs with all pages allocated. */
async function fileOnTmpfs(name: string): Promise<string> {
  const path = `/dev/shm/bench-${name}`;
  await run("dd", ["if=/dev/zero", `of=${path}`, "bs=1M", `count=${FILE_BYTES >> 20}`]);
  return path;
}

function sysfs({ path }: Disk): string {
  return `/sys/block/${path.slice("/dev/".length)}`;
}

const ATTRIBUTES = [
  "scheduler",
  "nr_requests",
  "max_sectors_kb",
  "max_segments",
  "logical_block_size",
  "write_cache",
  "fua",
];

/** The attributes of a disk's queue, from sysfs. */
export function attributesOf(disk: Disk): Record<string, string> {
  const folder = sysfs(disk);
  const read = (file: string) => {
    try {
      return Deno.readTextFileSync(`${folder}/${file}`).trim();
    } catch {
      return "?";
    }
  };
  const queue = ATTRIBUTES.map((name) => [name, read(`queue/${name}`)]);
  return Object.fromEntries([...queue, ["sectors", read("size")]]);
}
