/**
 * The environment of this process, for programs without `--allow-env` too.
 *
 * @module
 */

import { readSmallFile } from "../../uring/libc.ts";

/** The value of a variable; undefined if it is empty, missing or may not be read. */
export function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch {
    return atStart(name);
  }
}

/** Through libc, because the programs do not get `--allow-env`. */
function atStart(name: string): string | undefined {
  try {
    const found = readSmallFile("/proc/self/environ").split("\0").find((entry) =>
      entry.startsWith(`${name}=`)
    );
    return found?.slice(name.length + 1) || undefined;
  } catch {
    return undefined;
  }
}
