/**
 * Fetches and builds the kernel's own ublk selftests: their scripts, and `kublk`, the C server that
 * they test and that the benchmarks compare with.
 *
 * All of it comes from Debian's packages, through the private apt of `apt.ts`, and stays in the
 * cache: nothing of it enters this project. Its source is that of the kernel which the guests
 * boot, as near as Debian has it; liburing is sid's, linked statically, because an older one lacks
 * what `kublk` calls.
 *
 * @module
 */

import { aptOptions, downloadAndUnpack, withFreshLists } from "./apt.ts";
import { cacheDir, exists, lock, output, say, VmError } from "./host.ts";
import { uapiHeadersDir } from "./kernels.ts";

/** The program, and what it was built from. */
export interface Kublk {
  /** The executable: a file of the host, which the guests see too. */
  readonly path: string;
  /** The folder of the selftests, as their Makefile would leave it: `kublk` is in it too. */
  readonly dir: string;
  /** Debian's versions of its source and of liburing, for the conditions of a table. */
  readonly version: string;
}

const SOURCE_PACKAGE = "linux-source-7.2";
const LIBRARY_PACKAGE = "liburing-dev";
const SOURCE_FOLDER = "tools/testing/selftests/ublk";
/** A program of its own among the sources, with its own `main`. */
const METADATA_SIZE = "metadata_size";
/** Files of the sources that the scripts read, beside the scripts themselves. */
const DATA = /^(test_.*\.sh|settings|trace)$/;

/** Returns the selftests from the cache, building them first if they are not there. */
export async function ensureKublk(signal?: AbortSignal): Promise<Kublk> {
  const dir = `${cacheDir()}/selftests`;
  const cached = await cachedKublk(dir);
  if (cached !== undefined) return cached;
  const headers = await uapiHeadersDir(signal);
  using _lock = await lock("cache", "another run is filling the cache; waiting for it", signal);
  const meanwhile = await cachedKublk(dir);
  if (meanwhile !== undefined) return meanwhile;
  if (!(await exists("/usr/bin/cc"))) {
    throw new VmError("kublk is built here, and there is no C compiler: install gcc and libc6-dev");
  }
  const temporary = `${dir}.tmp`;
  await Deno.remove(temporary, { recursive: true }).catch(() => {}); // Debris of a killed run.
  const packages = [SOURCE_PACKAGE, LIBRARY_PACKAGE];
  await withFreshLists(() => downloadAndUnpack(packages, `${temporary}/root`));
  await build(`${temporary}/root/usr`, headers, temporary);
  const versions = await Promise.all(packages.map(candidate));
  await Deno.writeTextFile(`${temporary}/version`, versions.join(", "));
  await Deno.remove(`${temporary}/root`, { recursive: true }); // 1.6 GB of sources.
  await Deno.remove(dir, { recursive: true }).catch(() => {});
  await Deno.rename(temporary, dir);
  return (await cachedKublk(dir))!;
}

async function cachedKublk(dir: string): Promise<Kublk | undefined> {
  const path = `${dir}/kublk`;
  if (!(await exists(path))) return undefined;
  return { path, dir, version: await Deno.readTextFile(`${dir}/version`) };
}

/** What apt-get downloads of a package: its name and version. */
async function candidate(name: string): Promise<string> {
  const policy = await output("apt-cache", [...aptOptions(), "policy", name]);
  return `${name} ${policy.match(/Candidate: (\S+)/)?.[1] ?? "?"}`;
}

/** Makes in `into` what the selftests' Makefile would make. */
async function build(usr: string, headers: string, into: string): Promise<void> {
  say("building kublk");
  const archive = `${usr}/src/${SOURCE_PACKAGE}.tar.xz`;
  await output("tar", ["-xJf", archive, "-C", usr, `${SOURCE_PACKAGE}/${SOURCE_FOLDER}`], {
    failure: `could not unpack ${archive}`,
  });
  const folder = `${usr}/${SOURCE_PACKAGE}/${SOURCE_FOLDER}`;
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  const sources = names.filter((name) => name.endsWith(".c") && name !== `${METADATA_SIZE}.c`);
  // -O3 is what its own Makefile says, and _GNU_SOURCE what that of all selftests adds.
  const common = ["-O3", "-w", "-D_GNU_SOURCE=", "-isystem", headers];
  await output("cc", [
    ...[...common, "-isystem", `${usr}/include`, "-o", `${into}/kublk`],
    ...sources,
    ...[`${usr}/lib/x86_64-linux-gnu/liburing.a`, "-lpthread", "-lm"],
  ], { cwd: folder, failure: "kublk did not compile" });
  const metadataSize = `${into}/${METADATA_SIZE}`;
  await output("cc", [...common, "-o", metadataSize, `${METADATA_SIZE}.c`], {
    cwd: folder,
    failure: `${METADATA_SIZE} did not compile`,
  });
  const data = names.filter((name) => DATA.test(name)).map((name) => `${folder}/${name}`);
  await output("cp", ["-r", ...data, into]);
}

if (import.meta.main) console.log(await ensureKublk());
