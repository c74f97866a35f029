/**
 * Where volumes are if nobody says otherwise: `/var/lib/ublk` for root, and the state folder of the
 * XDG for anyone else.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { readSmallFile } from "../uring/libc.ts";
import { hasAdminRights } from "../uring/rights.ts";

/** The base folder for an environment. */
export function baseFolder(admin: boolean, environment: ReadonlyMap<string, string>): string {
  if (admin) return "/var/lib/ublk";
  const state = environment.get("XDG_STATE_HOME");
  if (state?.startsWith("/")) return `${state}/ublk`;
  const home = environment.get("HOME");
  if (home?.startsWith("/")) return `${home}/.local/state/ublk`;
  throw new UblkError("INVALID_ARGUMENT", {
    operation: "volume",
    reason: "neither XDG_STATE_HOME nor HOME says where volumes are",
    hint: "give --store and --journal",
  });
}

function base(): string {
  // Through libc: the commands may not read the environment through Deno.
  const lines = readSmallFile("/proc/self/environ").split("\0");
  const pairs = lines.map((line): [string, string] => {
    const at = line.indexOf("=");
    return [line.slice(0, at), line.slice(at + 1)];
  });
  return baseFolder(hasAdminRights(), new Map(pairs));
}

/** The folder of the store. */
export function defaultStore(): string {
  return `${base()}/volumes`;
}

/** The folder that has a folder for each volume's journal. */
export function defaultJournals(): string {
  return `${base()}/journals`;
}
