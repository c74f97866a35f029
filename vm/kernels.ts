/**
 * Debian's kernels and the kernel headers, fetched into the cache without touching the system.
 *
 * Everything appears in the cache by one rename, under a lock: a run that is killed leaves at
 * most a partial download, which the next run's apt-get continues.
 *
 * @module
 */
import {
  candidate,
  downloadAndUnpack,
  hasLists,
  KEYRING,
  packageNames,
  SUITES,
  updateLists,
} from "./apt.ts";
import { cacheDir, exists, lock, output, say, VmError, writeAtomically } from "./host.ts";
import { ensureHostPackages } from "./packages.ts";

/** The kernels the project is tested on: an old one that still counts, and the newest. */
export type KernelName = "6.12" | "7.2";

/** All of them, oldest first. */
export const KERNEL_NAMES: readonly KernelName[] = ["6.12", "7.2"];

/** A kernel in the cache. */
export interface Kernel {
  /** Which one was asked for. */
  readonly name: KernelName;
  /** What `uname -r` says inside. */
  readonly release: string;
  /** Debian's version of the package it came from. */
  readonly version: string;
  /** Its folder in the cache. */
  readonly dir: string;
  /** The bootable image. */
  readonly vmlinuz: string;
  /** The folder that belongs at `/lib/modules/<release>`, with depmod already run. */
  readonly modulesDir: string;
}

/**
 * Modules that the guest loads often. Debian compresses modules with xz, which an emulated CPU
 * takes seconds to undo, so these are kept uncompressed; the others load too, but slowly.
 */
const FAST_MODULES = [
  "drivers/block/(ublk_drv|loop|brd|nbd|null_blk/.*|zram/.*)",
  "fs/(9p|overlayfs|netfs|ext4|jbd2|xfs|btrfs|zonefs)/.*",
  "fs/(mbcache|fscache/.*)",
  "net/9p/9pnet(_virtio)?",
  "drivers/virtio/.*",
  "drivers/md/dm-(mod|bufio|log-writes|snapshot)",
  "(arch/x86/)?(lib|crypto|lib/.*)/[^/]*(crc|xor|raid6|blake2b|xxhash)[^/]*",
  "crypto/xor",
];

interface Selection {
  release: string;
  version: string;
  packages: string[];
}

/** Orders "7.2.9+deb13" before "7.2.13+deb14": by their numbers. */
export function compareReleases(a: string, b: string): number {
  const [x, y] = [a, b].map((release) => (release.match(/\d+/g) ?? []).map(Number));
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? -1) - (y[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Finds the newest package set of a kernel in the lists. */
async function select(name: KernelName): Promise<Selection> {
  // Newer Debian kernels come in parts; older ones are one package.
  const shapes = [["linux-binary-", "linux-modules-"], ["linux-image-"]];
  const release = new RegExp(`^${RegExp.escape(name)}\\.[0-9.]+([+~][a-z0-9.]+)?-amd64$`);
  for (const shape of shapes) {
    const releases = (await packageNames(shape[0] + name))
      .map((pkg) => pkg.slice(shape[0].length))
      .filter((rest) => release.test(rest))
      .sort(compareReleases);
    const newest = releases.at(-1);
    if (newest === undefined) continue;
    const packages = shape.map((part) => part + newest);
    // modules.builtin and the configuration are in a third part.
    const base = `linux-base-${newest}`;
    if ((await packageNames(base)).includes(base)) packages.push(base);
    const version = await candidate(packages[0]);
    if (version === undefined) continue;
    return { release: newest, version, packages };
  }
  throw new VmError(
    `no Linux ${name} in Debian's ${SUITES.join(", ")}: point UBLK_VM_MIRROR at a snapshot ` +
      "(http://snapshot.debian.org/archive/debian/<time>) that has one",
  );
}

/** Every file below a folder. */
async function* walk(dir: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(dir)) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory) yield* walk(path);
    else if (entry.isFile) yield path;
  }
}

async function decompressModules(modulesDir: string): Promise<void> {
  const wanted = new RegExp(`/kernel/(${FAST_MODULES.join("|")})\\.ko\\.(xz|zst)$`);
  const compressed: string[] = [];
  for await (const path of walk(`${modulesDir}/kernel`)) {
    if (wanted.test(path)) compressed.push(path);
  }
  for (const [extension, program] of [["xz", "xz"], ["zst", "zstd"]]) {
    const files = compressed.filter((path) => path.endsWith(`.${extension}`));
    const rm = program === "zstd" ? ["--rm", "-q"] : [];
    if (files.length > 0) await output(program, ["-d", ...rm, ...files]);
  }
}

async function fetchKernel(
  selection: Selection,
  dir: string,
  packages: Promise<void>,
): Promise<void> {
  const temporary = `${dir}.tmp`;
  // Debris of a killed run. The lock is held, so nobody is using it.
  await Deno.remove(temporary, { recursive: true }).catch(() => {});
  await downloadAndUnpack(selection.packages, `${temporary}/root`);
  const { release } = selection;
  const modules = `${temporary}/root/usr/lib/modules/${release}`;
  const images = [`${temporary}/root/boot/vmlinuz-${release}`, `${modules}/vmlinuz`];
  for (const image of images) {
    if (await exists(image)) await Deno.rename(image, `${temporary}/vmlinuz`);
  }
  if (!(await exists(`${temporary}/vmlinuz`))) {
    throw new VmError(`no vmlinuz in ${selection.packages.join(", ")}: Debian changed its layout`);
  }
  for (const config of [`${temporary}/root/boot/config-${release}`, `${modules}/config`]) {
    if (await exists(config)) await Deno.copyFile(config, `${temporary}/config`);
  }
  await packages; // From here on it takes xz and depmod.
  await decompressModules(modules);
  await Deno.mkdir(`${temporary}/lib/modules`, { recursive: true });
  await Deno.rename(modules, `${temporary}/lib/modules/${release}`);
  await output("depmod", ["-b", temporary, release], { failure: "depmod failed" });
  await Deno.remove(`${temporary}/root`, { recursive: true });
  await Deno.remove(dir, { recursive: true }).catch(() => {});
  await Deno.rename(temporary, dir);
}

/** Reads which kernel the cache holds under a name, if it is all there. */
async function cachedKernel(name: KernelName): Promise<Kernel | undefined> {
  const path = `${cacheDir()}/kernel-${name}.json`;
  if (!(await exists(path))) return undefined;
  const { release, version } = JSON.parse(await Deno.readTextFile(path));
  const dir = `${cacheDir()}/kernels/${release}`;
  const kernel: Kernel = {
    name,
    release,
    version,
    dir,
    vmlinuz: `${dir}/vmlinuz`,
    modulesDir: `${dir}/lib/modules/${release}`,
  };
  return await exists(kernel.vmlinuz) ? kernel : undefined;
}

const WAITING = "another run is filling the cache; waiting for it";

/**
 * Returns a kernel from the cache, downloading it if it is not there. With `newest` the lists are
 * read again and a newer release replaces the one in the cache.
 */
export async function ensureKernel(
  name: KernelName,
  options: { newest?: boolean; signal?: AbortSignal } = {},
): Promise<Kernel> {
  const kernel = await cachedKernel(name);
  if (kernel !== undefined && !options.newest) return kernel;
  // Half a minute each: what is missing is installed while the kernel is downloaded.
  const packages = ensureHostPackages();
  const fetched = fetchUnderLock(name, packages, options);
  const installed = packages.then(() => fetched);
  // Whichever fails first is told at once.
  await Promise.race([fetched, installed]);
  return await installed;
}

/** Fetches with nobody else at it. What needs the host's `packages` waits for them. */
async function fetchUnderLock(
  name: KernelName,
  packages: Promise<void>,
  options: { newest?: boolean; signal?: AbortSignal },
): Promise<Kernel> {
  using _lock = await lock("cache", WAITING, options.signal);
  let kernel = await cachedKernel(name); // Whoever was waited for may have fetched it.
  if (kernel !== undefined && !options.newest) return kernel;
  if (!(await exists(KEYRING))) await packages;
  await updateLists();
  const selection = await select(name);
  if (kernel?.release !== selection.release || kernel.version !== selection.version) {
    await fetchKernel(selection, `${cacheDir()}/kernels/${selection.release}`, packages);
    await writeAtomically(`${cacheDir()}/kernel-${name}.json`, JSON.stringify(selection));
    // Only now, so that a failed download never costs the kernel that was there.
    if (kernel !== undefined && kernel.release !== selection.release) {
      await Deno.remove(kernel.dir, { recursive: true });
    }
  }
  kernel = await cachedKernel(name);
  if (kernel === undefined) throw new VmError(`the cache of Linux ${name} was removed meanwhile`);
  say(`Linux ${name}: ${kernel.release} (Debian ${kernel.version})`);
  return kernel;
}

/**
 * Returns the include folder of the newest kernel's userspace headers (`linux/ublk_cmd.h`,
 * `linux/io_uring.h`, `asm/…`), downloading `linux-libc-dev` of exactly that kernel's source
 * version if needed. Pass it to a C compiler as `-isystem <dir>`, which goes before its own.
 */
export async function uapiHeadersDir(signal?: AbortSignal): Promise<string> {
  const newest = await ensureKernel(KERNEL_NAMES.at(-1)!, { signal });
  const dir = `${cacheDir()}/headers/${newest.version}`;
  const include = `${dir}/usr/include`;
  if (await exists(include)) return include;
  using _lock = await lock("cache", WAITING, signal);
  if (await exists(include)) return include;
  const temporary = `${dir}.tmp`;
  await Deno.remove(temporary, { recursive: true }).catch(() => {});
  // The lists may be those of another day, or gone; the kernel itself may have come from a cache.
  if (!(await hasLists())) await updateLists();
  const wanted = `linux-libc-dev=${newest.version}`;
  try {
    await downloadAndUnpack([wanted], temporary);
  } catch {
    await updateLists();
    await downloadAndUnpack([wanted], temporary);
  }
  // Compilers look for <asm/…> in their own multiarch folder; here one folder must be enough.
  await Deno.symlink("x86_64-linux-gnu/asm", `${temporary}/usr/include/asm`);
  await Deno.rename(temporary, dir);
  return include;
}
