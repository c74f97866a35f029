/**
 * Debian packages the VM and the tests inside it need on the host: QEMU, a static busybox for the
 * initramfs, and the programs that the guest finds on the host's own root file system.
 *
 * Nothing is touched when everything is there, and `apt-get update` runs only when apt does not
 * know a package or cannot download the version it knows.
 *
 * @module
 */
import { exists, output, say, VmError } from "./host.ts";

/** A package with files of which one proves that it is there, however it was installed. */
interface HostPackage {
  readonly name: string;
  readonly proof: readonly string[];
}

const HOST_PACKAGES: readonly HostPackage[] = [
  { name: "qemu-system-x86", proof: ["/usr/bin/qemu-system-x86_64"] },
  { name: "qemu-system-data", proof: ["/usr/share/seabios/bios-256k.bin", "/usr/share/qemu"] },
  { name: "busybox-static", proof: [] }, // The dynamic busybox has the same path: see `isStatic`.
  { name: "kmod", proof: ["/usr/sbin/depmod", "/sbin/depmod"] },
  { name: "xz-utils", proof: ["/usr/bin/xz"] },
  { name: "zstd", proof: ["/usr/bin/zstd"] },
  { name: "fio", proof: ["/usr/bin/fio"] },
  { name: "e2fsprogs", proof: ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"] },
  { name: "btrfs-progs", proof: ["/usr/sbin/mkfs.btrfs", "/sbin/mkfs.btrfs"] },
  { name: "xfsprogs", proof: ["/usr/sbin/mkfs.xfs", "/sbin/mkfs.xfs"] },
  { name: "dosfstools", proof: ["/usr/sbin/fsck.fat", "/sbin/fsck.fat"] },
  { name: "util-linux", proof: ["/usr/bin/setpriv"] },
  { name: "mount", proof: ["/usr/bin/mount", "/bin/mount"] },
  { name: "udev", proof: ["/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd"] },
  { name: "jq", proof: ["/usr/bin/jq"] },
  { name: "nbd-client", proof: ["/usr/sbin/nbd-client", "/sbin/nbd-client"] },
  { name: "nats-server", proof: ["/usr/sbin/nats-server"] },
  { name: "python3", proof: ["/usr/bin/python3"] },
  { name: "dmsetup", proof: ["/usr/sbin/dmsetup", "/sbin/dmsetup"] },
  { name: "fdisk", proof: ["/usr/sbin/sfdisk", "/sbin/sfdisk"] },
  {
    name: "debian-archive-keyring",
    proof: ["/usr/share/keyrings/debian-archive-keyring.gpg"],
  },
];

/** What only the kernel's selftests need: a compiler for `kublk`. */
const SELFTEST_PACKAGES: readonly HostPackage[] = [
  { name: "gcc", proof: ["/usr/bin/cc"] },
  { name: "libc6-dev", proof: ["/usr/include/stdio.h"] },
];

/** Packages for the benchmark against nbdkit. */
const NBDKIT_PACKAGES: readonly HostPackage[] = [
  { name: "nbdkit", proof: ["/usr/bin/nbdkit", "/usr/sbin/nbdkit"] },
  {
    name: "nbdkit-plugin-python",
    proof: ["/usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-python-plugin.so"],
  },
  {
    name: "nbdkit-plugin-perl",
    proof: ["/usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-perl-plugin.so"],
  },
];

const ALL_PACKAGES = [...HOST_PACKAGES, ...SELFTEST_PACKAGES, ...NBDKIT_PACKAGES];

/** The names of the selftests' packages, for {@link ensureHostPackages}. */
export const SELFTEST_PACKAGE_NAMES: readonly string[] = SELFTEST_PACKAGES.map(({ name }) => name);

/** The names of nbdkit's packages, for {@link ensureHostPackages}. */
export const NBDKIT_PACKAGE_NAMES: readonly string[] = NBDKIT_PACKAGES.map(({ name }) => name);

/** Where Debian and its derivatives put busybox. */
export const BUSYBOX_PATHS: readonly string[] = ["/bin/busybox", "/usr/bin/busybox"];

/**
 * The initramfs has no libraries, so only a static busybox will do: one without an ELF program
 * header of type PT_INTERP (3).
 */
async function isStatic(path: string): Promise<boolean> {
  if (!(await exists(path))) return false;
  const view = new DataView((await Deno.readFile(path)).buffer);
  const headersOffset = Number(view.getBigUint64(32, true)); // e_phoff
  const headerSize = view.getUint16(54, true); // e_phentsize
  const headerCount = view.getUint16(56, true); // e_phnum
  for (let i = 0; i < headerCount; i++) {
    if (view.getUint32(headersOffset + i * headerSize, true) === 3) return false;
  }
  return true;
}

/** The static busybox of the host, or undefined. */
export async function findBusybox(): Promise<string | undefined> {
  for (const path of BUSYBOX_PATHS) if (await isStatic(path)) return path;
  return undefined;
}

/** Names of the packages that are not there: of what every guest needs, or of those `among`. */
export async function missingPackages(among?: readonly string[]): Promise<string[]> {
  const missing: string[] = [];
  const wanted = among === undefined
    ? HOST_PACKAGES
    : ALL_PACKAGES.filter(({ name }) => among.includes(name));
  for (const { name, proof } of wanted) {
    const there = name === "busybox-static"
      ? (await findBusybox()) !== undefined
      : (await Promise.all(proof.map(exists))).includes(true);
    if (!there) missing.push(name);
  }
  return missing;
}

function install(names: string[]): Promise<string> {
  const args = [
    "install",
    "-y",
    "--no-install-recommends",
    // Another apt on the machine (unattended upgrades, a second run of this) is waited for.
    "-o",
    "DPkg::Lock::Timeout=300",
    ...names,
  ];
  return output("apt-get", args, { failure: `could not install ${names.join(" ")}` });
}

/**
 * Installs whatever is missing of what every guest needs, or of those `among`. Throws
 * {@link VmError} saying what to type when it may not.
 */
export async function ensureHostPackages(among?: readonly string[]): Promise<void> {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    throw new VmError("the VM shares the host's programs, so it needs an x86-64 Linux host");
  }
  const missing = await missingPackages(among);
  if (missing.length === 0) return;
  const byHand = `apt-get install --no-install-recommends ${missing.join(" ")}`;
  if (!(await exists("/usr/bin/apt-get"))) {
    throw new VmError(`missing ${missing.join(", ")}, and no apt-get here: install them by hand`);
  }
  if (Deno.uid() !== 0) {
    throw new VmError(`missing ${missing.join(", ")}, and not root: run \`sudo ${byHand}\``);
  }
  say(`installing ${missing.join(", ")} with apt-get`);
  try {
    await install(missing);
  } catch {
    // Most often: empty or outdated package lists. Anything else fails again, and is told then.
    say("apt-get could not install them; running apt-get update, then once more");
    try {
      await output("apt-get", ["update"], { failure: "no package lists (is the network up?)" });
    } catch (error) {
      // One broken third-party source must not stop what the other sources can serve.
      say(error instanceof Error ? error.message : String(error));
    }
    await install(missing);
  }
  const still = await missingPackages(among);
  if (still.length > 0) {
    throw new VmError(`apt-get installed ${still.join(", ")} but its files are not where expected`);
  }
}
