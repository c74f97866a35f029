/**
 * Fetches a `bpftrace` that knows the selftests' traces. Debian 12's is too old for them (they say
 * `args.dev`, which came with 0.18), and a newer one wants a newer libc: so it comes with all its
 * libraries into the cache, and runs under its own loader.
 *
 * @module
 */

import { downloadClosure, withFreshLists } from "./apt.ts";
import { cacheDir, exists, lock } from "./host.ts";

const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** Returns the words that run it, fetching it first if it is not in the cache. */
export async function ensureBpftrace(signal?: AbortSignal): Promise<string[]> {
  const dir = `${cacheDir()}/bpftrace`;
  const words = [
    `${dir}/${LIBRARIES}/ld-linux-x86-64.so.2`,
    ...["--library-path", `${dir}/${LIBRARIES}`],
    `${dir}/usr/bin/bpftrace`,
  ];
  if (await exists(dir)) return words;
  using _lock = await lock("cache", "another run is filling the cache; waiting for it", signal);
  if (await exists(dir)) return words;
  const temporary = `${dir}.tmp`;
  await Deno.remove(temporary, { recursive: true }).catch(() => {}); // Debris of a killed run.
  await withFreshLists(() => downloadClosure(["bpftrace"], temporary));
  for (const unneeded of ["usr/share", "usr/lib/python3", "usr/lib/python3.14", "var", "etc"]) {
    await Deno.remove(`${temporary}/${unneeded}`, { recursive: true }).catch(() => {});
  }
  await Deno.rename(temporary, dir);
  return words;
}

if (import.meta.main) console.log((await ensureBpftrace()).join(" "));
