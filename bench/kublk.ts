/**
 * Fetches and builds `kublk`, the C server of the kernel's own selftests, to compare with.
 *
 * It comes from Debian's packages, through the private apt of `vm/apt.ts`, and stays in the
 * cache: nothing of it enters this project. Its source is that of the kernel which the guests
 * boot, as near as Debian has it; liburing is sid's, linked statically, because an older one lacks
 * what `kublk` calls.
 *
 * @module
 */

import { cacheDir, exists, lock, output, say, VmError } from "../vm/host.ts";
import { aptOptions, downloadAndUnpack, updateLists } from "../vm/apt.ts";
import { uapiHeadersDir } from "../vm/kernels.ts";

/** The program, and what it was built from. */
export interface Kublk {
  /** The executable: a file of the host, which the guests see too. */
  readonly path: string;
  /** Debian's versions of its source and of liburing, for the conditions of a table. */
  readonly version: string;
}

const SOURCE_PACKAGE = "linux-source-7.2";
const LIBRARY_PACKAGE = "liburing-dev";
const SOURCE_FOLDER = "tools/testing/selftests/ublk";
/** A program of its own among the sources, with its own `main`. */
const NOT_PART_OF_IT = "metadata_size.c";

/** Returns `kublk` from the cache, building it first if it is not there. */
export async function ensureKublk(signal?: AbortSignal): Promise<Kublk> {
  const dir = `${cacheDir()}/kublk`;
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
  await download([SOURCE_PACKAGE, LIBRARY_PACKAGE], `${temporary}/root`);
  await build(`${temporary}/root/usr`, headers, `${temporary}/kublk`);
  const versions = await Promise.all([SOURCE_PACKAGE, LIBRARY_PACKAGE].map(candidate));
  await Deno.writeTextFile(`${temporary}/version`, versions.join(", "));
  await Deno.remove(`${temporary}/root`, { recursive: true }); // 1.6 GB of sources.
  await Deno.remove(dir, { recursive: true }).catch(() => {});
  await Deno.rename(temporary, dir);
  return (await cachedKublk(dir))!;
}

async function cachedKublk(dir: string): Promise<Kublk | undefined> {
  const path = `${dir}/kublk`;
  if (!(await exists(path))) return undefined;
  return { path, version: await Deno.readTextFile(`${dir}/version`) };
}

async function download(packages: string[], into: string): Promise<void> {
  try {
    await downloadAndUnpack(packages, into);
  } catch {
    // The lists may be those of another day, or not there at all.
    await updateLists();
    await downloadAndUnpack(packages, into);
  }
}

/** What apt-get downloads of a package: its name and version. */
async function candidate(name: string): Promise<string> {
  const policy = await output("apt-cache", [...aptOptions(), "policy", name]);
  return `${name} ${policy.match(/Candidate: (\S+)/)?.[1] ?? "?"}`;
}

async function build(usr: string, headers: string, program: string): Promise<void> {
  say("building kublk");
  const archive = `${usr}/src/${SOURCE_PACKAGE}.tar.xz`;
  await output("tar", ["-xJf", archive, "-C", usr, `${SOURCE_PACKAGE}/${SOURCE_FOLDER}`], {
    failure: `could not unpack ${archive}`,
  });
  const folder = `${usr}/${SOURCE_PACKAGE}/${SOURCE_FOLDER}`;
  const sources = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.endsWith(".c") && name !== NOT_PART_OF_IT).sort();
  // -O3 is what its own Makefile says, and _GNU_SOURCE what that of all selftests adds.
  await output("cc", [
    ...["-O3", "-w", "-D_GNU_SOURCE=", "-o", program],
    ...["-isystem", headers, "-isystem", `${usr}/include`],
    ...sources,
    ...[`${usr}/lib/x86_64-linux-gnu/liburing.a`, "-lpthread", "-lm"],
  ], { cwd: folder, failure: "kublk did not compile" });
}

if (import.meta.main) console.log(await ensureKublk());
