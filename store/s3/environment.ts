/**
 * The environment of this process, for programs without `--allow-env` too.
 *
 * @module
 */

import { environmentVariable } from "../../uring/libc.ts";

/** The value of a variable; undefined if it is empty, missing or may not be read. */
export function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch {
    return byLibc(name);
  }
}

/** For programs without `--allow-env`. */
function byLibc(name: string): string | undefined {
  try {
    return environmentVariable(name) || undefined;
  } catch {
    // There is no --allow-ffi either.
    return undefined;
  }
}
