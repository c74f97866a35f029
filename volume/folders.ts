/**
 * Where volumes are if nobody says otherwise: `/var/lib/ublk` for root, and the state folder of the
 * XDG for anyone else.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { environmentVariable } from "../uring/libc.ts";
import { hasAdminRights } from "../uring/rights.ts";

function base(): string {
  if (hasAdminRights()) return "/var/lib/ublk";
  const state = environmentVariable("XDG_STATE_HOME");
  if (state?.startsWith("/")) return `${state}/ublk`;
  const home = environmentVariable("HOME");
  if (home?.startsWith("/")) return `${home}/.local/state/ublk`;
  throw new UblkError("INVALID_ARGUMENT", {
    operation: "volume",
    reason: "neither XDG_STATE_HOME nor HOME says where volumes are",
    hint: "give --store and --journal",
  });
}

/** The folder of the store. */
export function defaultStore(): string {
  return `${base()}/volumes`;
}

/** The folder that has a folder for each volume's journal. */
export function defaultJournals(): string {
  return `${base()}/journals`;
}
