/**
 * Installs the Debian packages that the tests need on this machine.
 *
 * @module
 */
import { run } from "./exec.ts";
import type { Group } from "./steps.ts";

/** A package, and one file that proves that it is installed. */
interface Package {
  readonly name: string;
  readonly proof: string;
}

/** The compiler for the test of `uapi/`. */
const COMPILER: readonly Package[] = [
  { name: "gcc", proof: "/usr/bin/gcc" },
  { name: "libc6-dev", proof: "/usr/include/stdio.h" },
  { name: "linux-libc-dev", proof: "/usr/include/linux/ublk_cmd.h" },
];

/** The shells whose completions are tested. */
const SHELLS: readonly Package[] = [
  { name: "bash", proof: "/bin/bash" },
  { name: "fish", proof: "/usr/bin/fish" },
  { name: "zsh", proof: "/bin/zsh" },
];

/** Tools that write partition tables, and the commands that `partition`'s errors name. */
const TABLES: readonly Package[] = [
  { name: "fdisk", proof: "/usr/sbin/sfdisk" },
  { name: "gdisk", proof: "/usr/sbin/sgdisk" },
];

/** For checks of units; none is started. */
const SYSTEMD: readonly Package[] = [
  { name: "systemd", proof: "/usr/bin/systemd-analyze" },
];

/** What judges man pages. */
const MANDOC: readonly Package[] = [{ name: "mandoc", proof: "/usr/bin/mandoc" }];

/** Clients of NBD that others wrote, and a server to compare with. */
const NBD: readonly Package[] = [
  { name: "libnbd-bin", proof: "/usr/bin/nbdinfo" },
  { name: "python3-libnbd", proof: "/usr/bin/nbdsh" },
  { name: "qemu-utils", proof: "/usr/bin/qemu-io" },
  { name: "nbdkit", proof: "/usr/bin/nbdkit" },
  { name: "e2fsprogs", proof: "/usr/sbin/debugfs" },
  { name: "openssl", proof: "/usr/bin/openssl" },
];

/** For machines that reach Ceph over a network of their own, and for what fetches it. */
const CEPH: readonly Package[] = [
  { name: "debian-archive-keyring", proof: "/usr/share/keyrings/debian-archive-keyring.gpg" },
  { name: "e2fsprogs", proof: "/usr/sbin/mkfs.ext4" },
  { name: "iproute2", proof: "/usr/bin/ip" },
  { name: "libnbd-bin", proof: "/usr/bin/nbdcopy" },
  { name: "util-linux", proof: "/usr/bin/setpriv" },
];
/** A server of JetStream, and the tool that makes namespaces whose networks are cut. */
const NATS: readonly Package[] = [
  { name: "nats-server", proof: "/usr/sbin/nats-server" },
  { name: "iproute2", proof: "/sbin/ip" },
];

/** What reads encrypted and compressed volumes besides us. */
const READERS: readonly Package[] = [
  { name: "zstd", proof: "/usr/bin/zstd" },
  {
    name: "python3-cryptography",
    proof: "/usr/lib/python3/dist-packages/cryptography/__init__.py",
  },
];

const INSTALL_LIMIT_MS = 10 * 60_000;

/**
 * Installs missing packages of the chosen groups, if this process may. A failure is reported and the run
 * continues: tests that need the package fail or skip with their own reason. It never rejects.
 *
 * @param label Stands before each line of output, where other steps run at the same time.
 */
export async function ensurePackages(groups: ReadonlySet<Group>, label?: string): Promise<void> {
  try {
    const packages = [
      ...groups.has("unit") || groups.has("integration") ? COMPILER : [],
      ...groups.has("unit") || groups.has("integration") ? TABLES : [],
      ...groups.has("integration")
        ? [...SHELLS, ...SYSTEMD, ...MANDOC, ...NBD, ...NATS, ...READERS]
        : [],
      ...groups.has("ceph") ? CEPH : [],
    ];
    await ensure(packages, label);
    if (groups.has("e2e") || groups.has("selftests")) {
      // Not a static import: what is wrong in vm/ must not keep the other steps from running.
      const { ensureHostPackages, SELFTEST_PACKAGE_NAMES } = await import("../vm/packages.ts");
      await ensureHostPackages();
      // All now, since two steps that install at the same time would wait for each other.
      if (groups.has("selftests")) await ensureHostPackages(SELFTEST_PACKAGE_NAMES);
    }
  } catch (error) {
    console.log(`packages: ${error instanceof Error ? error.message : error}`);
  }
}

async function ensure(packages: readonly Package[], label?: string): Promise<void> {
  const missing = packages.filter(({ proof }) => !exists(proof)).map(({ name }) => name);
  if (missing.length === 0) return;
  const install = ["install", "-y", "--no-install-recommends", ...missing];
  if (Deno.uid() !== 0 || !exists("/usr/bin/apt-get")) {
    throw new Error(`missing ${missing.join(", ")}: run \`sudo apt-get ${install.join(" ")}\``);
  }
  console.log(`packages: installing ${missing.join(", ")} with apt-get`);
  const lock = ["-o", "DPkg::Lock::Timeout=300"];
  const aptGet = (...words: string[]) => run("apt-get", words, INSTALL_LIMIT_MS, label);
  if ((await aptGet(...lock, ...install)).code === 0) return;
  // Usually the package lists are empty or outdated, as in a fresh container.
  await aptGet("update");
  const { code } = await aptGet(...lock, ...install);
  if (code !== 0) throw new Error(`could not install ${missing.join(", ")}`);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
