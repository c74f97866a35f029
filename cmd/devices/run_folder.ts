/**
 * Where records, logs and sockets are.
 *
 * @module
 */

import { pathExists } from "../../uring/libc.ts";
import { hasAdminRights, userId } from "../../uring/rights.ts";

/** The folder of root's devices. */
const ROOT_FOLDER = "/run/ublk";

/** The variable that names a user's runtime folder. */
export const RUNTIME_VARIABLE = "XDG_RUNTIME_DIR";

/** Who asks, and what there is. */
interface Circumstances {
  /** Whether this process makes privileged devices. */
  readonly admin: boolean;
  /** The user. */
  readonly uid: number;
  /** `XDG_RUNTIME_DIR`. */
  readonly variable: string | undefined;
  /** Whether there is something at a path. */
  exists(path: string): boolean;
}

/**
 * The folder: root's, or of a user that in his runtime folder. There the folder by his number comes
 * first, since it is the same for a login, `su` and `cron`, and never somebody else's. Where there is
 * none at all, the folder named cannot be made, and no records are kept.
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
