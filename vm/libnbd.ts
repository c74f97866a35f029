/**
 * A newer libnbd than the machine's own: the first client of others that has extended headers. Debian's
 * packages are unpacked into the cache, with all that they depend on, and never installed.
 *
 * @module
 */
import { downloadClosure, withFreshLists } from "./apt.ts";
import { cacheDir, exists, lock } from "./host.ts";

const PACKAGES = ["libnbd-bin", "python3-libnbd"];

/** The folder with the packages. Downloads them if they are not in the cache. */
export async function ensureLibnbd(signal?: AbortSignal): Promise<string> {
  const root = `${cacheDir()}/libnbd`;
  if (await exists(root)) return root;
  using _lock = await lock("cache", "another run is filling the cache; waiting for it", signal);
  if (await exists(root)) return root;
  const temporary = `${root}.tmp`;
  await withFreshLists(async () => {
    await Deno.remove(temporary, { recursive: true }).catch(() => {}); // Debris of a killed run.
    await downloadClosure(PACKAGES, temporary);
  });
  await Deno.rename(temporary, root);
  return root;
}

/** The words that begin a command line of one of its programs, under the folder's own libraries. */
export function libnbdProgram(root: string, name: "nbdinfo" | "nbdcopy" | "python3"): string[] {
  return [
    ...["env", `PYTHONHOME=${root}/usr`, `${root}/usr/lib64/ld-linux-x86-64.so.2`],
    ...["--library-path", `${root}/usr/lib/x86_64-linux-gnu`, `${root}/usr/bin/${name}`],
  ];
}
