/**
 * The folder of records, logs and sockets.
 *
 * @module
 */

import { pathExists } from "../../uring/libc.ts";
import { hasAdminRights, userId } from "../../uring/rights.ts";

/** The folder of root's devices. */
const ROOT_FOLDER = "/run/ublk";

/** The variable that names a user's runtime folder. */
export const RUNTIME_VARIABLE = "XDG_RUNTIME_DIR";

/** The inputs of {@linkcode runFolderFor}. */
interface Circumstances {
  /** Whether this process makes privileged devices. */
  readonly admin: boolean;
  /** The user's id. */
  readonly uid: number;
  /** `XDG_RUNTIME_DIR`. */
  readonly variable: string | undefined;
  /** Whether a path exists. */
  exists(path: string): boolean;
}

/**
 * The folder: root's, or one in the user's runtime folder. The runtime folder is preferably found
 * by the user's id, because that is the same after a login, `su` and in `cron`, and never another
 * user's. If neither exists, the returned folder cannot be created, and no records are kept.
 */
export function runFolderFor({ admin, uid, variable, exists }: Circumstances): string {
  if (admin) return ROOT_FOLDER;
  const byNumber = `/run/user/${uid}`;
  const base = exists(byNumber) || !variable?.startsWith("/") ? byNumber : variable;
  return `${base}/ublk`;
}

let known: string | undefined;

/** The folder of this process. */
export function runFolder(): string {
  return known ??= runFolderFor({
    admin: hasAdminRights(),
    uid: userId(),
    variable: runtimeVariable(),
    exists: pathExists,
  });
}

function runtimeVariable(): string | undefined {
  const permission = { name: "env", variable: RUNTIME_VARIABLE } as const;
  if (Deno.permissions.querySync(permission).state !== "granted") return undefined;
  return Deno.env.get(RUNTIME_VARIABLE);
}
