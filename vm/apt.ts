/**
 * Debian's archive without touching the system: an apt-get with a configuration of its own.
 *
 * It has its own sources, lists, cache and an empty list of installed packages, so that asking for
 * trixie's and sid's packages can never change what an ordinary `apt-get upgrade` does. Packages
 * are only downloaded and unpacked, never installed.
 *
 * @module
 */
import {
  cacheDir,
  exists,
  output,
  type OutputOptions,
  say,
  VmError,
  writeAtomically,
} from "./host.ts";

/**
 * Debian's 6.12 is trixie's; 7.2 was in sid when this was written. When sid has moved on, a 7.2
 * may still be in trixie-backports, so the newest that any of the suites has is taken.
 */
export const SUITES: readonly string[] = ["trixie", "trixie-backports", "sid"];
/** What the lists are signed with. */
export const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

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

/** Names of known packages with this prefix. */
export async function packageNames(prefix: string): Promise<string[]> {
  const names = await output("apt-cache", [...aptOptions(), "pkgnames", prefix]);
  return names.split("\n").filter((name) => name !== "");
}

/** The version of a package that would be downloaded. */
export async function candidate(pkg: string): Promise<string | undefined> {
  const policy = await output("apt-cache", [...aptOptions(), "policy", pkg]);
  return policy.match(/Candidate: (\S+)/)?.[1];
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

/**
 * Downloads packages with all that they depend on, libc included, and unpacks everything into one
 * fresh folder, where the programs run under that folder's own loader.
 */
export async function downloadClosure(packages: string[], into: string): Promise<void> {
  const archives = `${into}.debs`;
  await Deno.remove(archives, { recursive: true }).catch(() => {}); // Debris of a killed run.
  await Deno.mkdir(`${archives}/partial`, { recursive: true });
  say(`downloading ${packages.join(", ")} and what they depend on`);
  // The private list of installed packages is empty, so "install" means everything.
  const how = ["--download-only", "--no-install-recommends", "-y"];
  await aptGet(["-o", `Dir::Cache::archives=${archives}`, ...how, "install", ...packages], {
    failure: `no network? could not download ${packages.join(", ")}`,
  });
  await Deno.mkdir(into, { recursive: true });
  for await (const { name } of Deno.readDir(archives)) {
    if (!name.endsWith(".deb")) continue;
    await output("dpkg-deb", ["-x", `${archives}/${name}`, into], {
      failure: `could not unpack ${name}`,
    });
  }
  await Deno.remove(archives, { recursive: true });
}

/** Runs a download; if it fails, once more with new lists: they may be of another day, or gone. */
export async function withFreshLists(download: () => Promise<void>): Promise<void> {
  try {
    await download();
  } catch {
    await updateLists();
    await download();
  }
}

/** Whether there are lists, of whatever day. */
export async function hasLists(): Promise<boolean> {
  return await exists(`${aptDir()}/sources.list`);
}
