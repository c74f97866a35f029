/**
 * Debian's kernels and the kernel headers, fetched into the cache without touching the system.
 *
 * apt-get gets a configuration of its own (sources, lists, cache, an empty list of installed
 * packages), so that asking for trixie's and sid's packages can never change what an ordinary
 * `apt-get upgrade` does. Packages are only downloaded and unpacked, never installed.
 *
 * Everything appears in the cache by one rename, under a lock: a run that is killed leaves at
 * most a partial download, which the next run's apt-get continues.
 *
 * @module
 */
import {
  cacheDir,
  exists,
  lock,
  output,
  type OutputOptions,
  say,
  VmError,
  writeAtomically,
} from "./host.ts";
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
 * Debian's 6.12 is trixie's; 7.2 was in sid when this was written. When sid has moved on, a 7.2
 * may still be in trixie-backports, so the newest that any of the suites has is taken.
 */
const SUITES = ["trixie", "trixie-backports", "sid"];
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/**
 * Modules that the guest loads often. Debian compresses modules with xz, which an emulated CPU
 * takes seconds to undo, so these are kept uncompressed; the others load too, but slowly.
 */
const FAST_MODULES = [
  "drivers/block/(ublk_drv|loop|brd|nbd|null_blk/.*|zram/.*)",
  "fs/(9p|overlayfs|netfs|ext4|jbd2|xfs|btrfs)/.*",
  "fs/(mbcache|fscache/.*)",
  "net/9p/9pnet(_virtio)?",
  "drivers/virtio/.*",
  "(arch/x86/)?(lib|crypto|lib/.*)/[^/]*(crc|xor|raid6|blake2b|xxhash)[^/]*",
  "crypto/xor",
];

interface Selection {
  release: string;
  version: string;
  packages: string[];
}

function aptDir(): string {
  return `${cacheDir()}/apt`;
}

/** The options that make apt-get and apt-cache private. */
export function aptOptions(): string[] {
  const dir = aptDir();
  const settings = [
    `Dir::Etc::sourcelist=${dir}/sources.list`,
    "Dir::Etc::sourceparts=/dev/null",
    "Dir::Etc::preferences=/dev/null",
    "Dir::Etc::preferencesparts=/dev/null",
    `Dir::State=${dir}/state`,
    `Dir::State::lists=${dir}/lists`,
    `Dir::State::status=${dir}/status`,
    `Dir::Cache=${dir}/cache`,
    "APT::Architecture=amd64",
    "APT::Architectures=amd64",
    // The unprivileged user `_apt` cannot reach a cache below /root.
    "APT::Sandbox::User=",
    // A snapshot of the archive, or a mirror that stands still, has lists that have expired. They
    // are as signed as ever, and what comes of them runs in a guest only.
    "Acquire::Check-Valid-Until=false",
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
    "Acquire::Retries=3",
    "Acquire::http::Timeout=30",
  ];
  return settings.flatMap((setting) => ["-o", setting]);
}

/**
 * Runs the private apt-get so that it dies with this process: the lock is gone then, and the next
 * run's apt-get must not meet it over the same files.
 */
function aptGet(args: string[], options: OutputOptions): Promise<string> {
  const command = ["--pdeathsig", "KILL", "apt-get", ...aptOptions(), ...args];
  return output("setpriv", command, options);
}

/** Prepares the private apt and downloads the package lists. */
export async function updateLists(): Promise<void> {
  if (!(await exists(KEYRING))) {
    throw new VmError(`${KEYRING} is missing: install debian-archive-keyring`);
  }
  const dir = aptDir();
  for (const sub of ["lists/partial", "cache/archives/partial", "state"]) {
    await Deno.mkdir(`${dir}/${sub}`, { recursive: true });
  }
  const mirror = Deno.env.get("UBLK_VM_MIRROR") ?? "http://deb.debian.org/debian";
  const lines = SUITES.map((suite) => `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`);
  await writeAtomically(`${dir}/sources.list`, lines.join(""));
  await writeAtomically(`${dir}/status`, "");
  say(`downloading the package lists of ${SUITES.join(", ")} (into ${dir})`);
  await aptGet(["--error-on=any", "update"], {
    failure: "no network? could not download Debian's package lists (or set UBLK_VM_MIRROR)",
  });
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

/** Names of known packages with this prefix. */
async function packageNames(prefix: string): Promise<string[]> {
  const names = await output("apt-cache", [...aptOptions(), "pkgnames", prefix]);
  return names.split("\n").filter((name) => name !== "");
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
    const policy = await output("apt-cache", [...aptOptions(), "policy", packages[0]]);
    const version = policy.match(/Candidate: (\S+)/)?.[1];
    if (version === undefined) continue;
    return { release: newest, version, packages };
  }
  throw new VmError(
    `no Linux ${name} in Debian's ${SUITES.join(", ")}: point UBLK_VM_MIRROR at a snapshot ` +
      "(http://snapshot.debian.org/archive/debian/<time>) that has one",
  );
}

/** Downloads packages and unpacks them into one fresh folder. */
export async function downloadAndUnpack(packages: string[], into: string): Promise<void> {
  const downloads = `${cacheDir()}/downloads`;
  await Deno.mkdir(downloads, { recursive: true });
  say(`downloading ${packages.join(", ")}`);
  // apt-get checks the signed hashes, and continues a partial file of an earlier run.
  const names = packages.map((pkg) => pkg.split("=")[0]);
  await aptGet(["download", ...packages], {
    cwd: downloads,
    failure: `no network? could not download ${names.join(", ")}`,
  });
  await Deno.mkdir(into, { recursive: true });
  for await (const { name } of Deno.readDir(downloads)) {
    if (!name.endsWith(".deb") || !names.includes(name.split("_")[0])) continue;
    await output("dpkg-deb", ["-x", `${downloads}/${name}`, into], {
      failure: `could not unpack ${downloads}/${name} (delete it and try again)`,
    });
    await Deno.remove(`${downloads}/${name}`);
  }
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
  // A failure of either ends it at once, but an installation is never left half way.
  await Promise.race([fetched, packages.then(() => fetched)]);
  await packages;
  return await fetched;
}

async function fetchUnderLock(
  name: KernelName,
  packages: Promise<void>,
  options: { newest?: boolean; signal?: AbortSignal },
): Promise<Kernel> {
  using _lock = await lock("cache", WAITING, options.signal);
  let kernel = await cachedKernel(name); // Whoever was waited for may have fetched it.
  if (kernel !== undefined && !options.newest) return kernel;
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
  if (!(await exists(`${aptDir()}/sources.list`))) await updateLists();
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
