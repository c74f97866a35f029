/**
 * The guest's first file system: busybox, the few modules that lead to the host's file system, and
 * this room's scripts. It is made anew for every boot, which takes milliseconds.
 *
 * @module
 */
import { VmError } from "./host.ts";
import type { Kernel } from "./kernels.ts";
import { findBusybox } from "./packages.ts";

/** What stands between an empty machine and the host's root as a 9p share under an overlay. */
const BOOT_MODULES = [
  "virtio_pci",
  "virtio_console",
  "9pnet_virtio",
  "9p",
  "overlay",
];

/** The applets that `guest/init` calls. */
const APPLETS = [
  "cat",
  "cp",
  "echo",
  "hostname",
  "ifconfig",
  "insmod",
  "ln",
  "mkdir",
  "mount",
  "poweroff",
  "sh",
  "switch_root",
];

/** One entry of a cpio archive: a folder has no data, a symbolic link has its target as data. */
export interface CpioEntry {
  /** Path without a leading slash. */
  path: string;
  /** `st_mode`: type and permissions. */
  mode: number;
  /** Contents. */
  data?: Uint8Array<ArrayBuffer>;
}

const DIRECTORY = 0o040755;
const PROGRAM = 0o100755;
const FILE = 0o100644;
const SYMLINK = 0o120777;

const encoder = new TextEncoder();

/**
 * Makes a "newc" archive as the kernel unpacks it (Documentation/driver-api/early-userspace/
 * buffer-format.rst): headers of hexadecimal text, names and contents padded to four bytes.
 */
export function cpio(entries: readonly CpioEntry[]): Blob {
  const parts: (string | Uint8Array<ArrayBuffer>)[] = [];
  const pad = (size: number) => "\0".repeat((4 - size % 4) % 4);
  const add = ({ path, mode, data }: CpioEntry, inode: number) => {
    const fields = [
      inode,
      mode,
      0, // uid
      0, // gid
      1, // nlink
      0, // mtime
      data?.length ?? 0,
      0, // device
      0,
      0, // rdev
      0,
      path.length + 1,
      0, // checksum, unused in "newc"
    ];
    const header = "070701" + fields.map((n) => n.toString(16).padStart(8, "0")).join("");
    parts.push(header, path + "\0", pad(header.length + path.length + 1));
    if (data !== undefined) parts.push(data, pad(data.length));
  };
  entries.forEach((entry, index) => add(entry, index + 1));
  add({ path: "TRAILER!!!", mode: 0 }, 0);
  return new Blob(parts);
}

/** Lists module files (relative to the kernel's folder) so that each follows what it needs. */
async function modulesInOrder(kernel: Kernel, names: readonly string[]): Promise<string[]> {
  const needs = new Map<string, string[]>();
  const pathOf = new Map<string, string>();
  const moduleName = (path: string) =>
    path.split("/").at(-1)!.replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
  for (const line of (await Deno.readTextFile(`${kernel.modulesDir}/modules.dep`)).split("\n")) {
    const [path, rest] = line.split(":");
    if (rest === undefined) continue;
    needs.set(path, rest.trim().split(" ").filter((need) => need !== ""));
    pathOf.set(moduleName(path), path);
  }
  const builtin = new Set(
    (await Deno.readTextFile(`${kernel.modulesDir}/modules.builtin`)).split("\n").map(moduleName),
  );
  const ordered = new Set<string>();
  const visit = (path: string) => {
    for (const need of needs.get(path) ?? []) if (!ordered.has(need)) visit(need);
    ordered.add(path);
  };
  for (const name of names) {
    if (builtin.has(name)) continue;
    const path = pathOf.get(name);
    if (path === undefined) {
      throw new VmError(`Linux ${kernel.release} has no module ${name}: is it a cloud kernel?`);
    }
    visit(path);
  }
  return [...ordered];
}

/** Quotes a word for a POSIX shell. */
export function shellQuote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Writes shell assignments. */
export function shellAssignments(variables: Record<string, string>): string {
  return Object.entries(variables)
    .map(([name, value]) => {
      if (!/^[A-Za-z_]\w*$/.test(name)) throw new VmError(`not a variable's name: ${name}`);
      return `${name}=${shellQuote(value)}\n`;
    })
    .join("");
}

/** Busybox with its applets, modules in the order of their names, and empty folders. */
async function commonEntries(
  kernel: Kernel,
  folders: readonly string[],
  applets: readonly string[],
  names: readonly string[],
): Promise<CpioEntry[]> {
  const busybox = await findBusybox();
  if (busybox === undefined) throw new VmError("no static busybox: install busybox-static");
  const entries: CpioEntry[] = [
    ...["bin", "dev", "proc", "sys", "modules", ...folders]
      .map((dir) => ({ path: dir, mode: DIRECTORY })),
    { path: "bin/busybox", mode: PROGRAM, data: await Deno.readFile(busybox) },
    ...applets.map((applet) => (
      { path: `bin/${applet}`, mode: SYMLINK, data: encoder.encode("busybox") }
    )),
  ];
  // The names carry the order: the init script loads them as the shell sorts them.
  for (const [index, file] of (await modulesInOrder(kernel, names)).entries()) {
    const data = await Deno.readFile(`${kernel.modulesDir}/${file}`);
    const base = file.split("/").at(-1);
    const number = String(index).padStart(2, "0");
    entries.push({ path: `modules/${number}-${base}`, mode: FILE, data });
  }
  return entries;
}

/**
 * Writes the initramfs of one boot to `path`. `settings` become the guest scripts' `/config`,
 * and `command` the script that they run once the host's root is in place.
 */
export async function writeInitramfs(
  kernel: Kernel,
  path: string,
  settings: Record<string, string>,
  command: string,
): Promise<void> {
  const script = (name: string) => Deno.readFile(`${import.meta.dirname}/guest/${name}`);
  const entries: CpioEntry[] = [
    ...await commonEntries(kernel, ["host", "rw", "new"], APPLETS, BOOT_MODULES),
    { path: "init", mode: PROGRAM, data: await script("init.sh") },
    { path: "stage2", mode: PROGRAM, data: await script("stage2.sh") },
    { path: "command", mode: PROGRAM, data: encoder.encode(command) },
    { path: "config", mode: FILE, data: encoder.encode(shellAssignments(settings)) },
  ];
  await Deno.writeFile(path, cpio(entries).stream());
}

/** Writes an initramfs that leads to the ext4 root of the first virtio disk, and to its `/sbin/init`. */
export async function writeDiskInitramfs(kernel: Kernel, path: string): Promise<void> {
  const applets = ["insmod", "mount", "sh", "switch_root"];
  const modules = ["virtio_pci", "virtio_blk", "ext4"];
  const init = `#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for module in /modules/*; do insmod "$module"; done
mount -t ext4 /dev/vda /new && exec switch_root /new /sbin/init
`;
  const entries: CpioEntry[] = [
    ...await commonEntries(kernel, ["new"], applets, modules),
    { path: "init", mode: PROGRAM, data: encoder.encode(init) },
  ];
  await Deno.writeFile(path, cpio(entries).stream());
}
