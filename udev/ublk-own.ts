/**
 * `ublk-own NODE`: gives a node of an unprivileged device, `ublkcN` or `ublkbN`, to the user who
 * created the device. udev runs it, according to `59-ublk.rules`. It exits with 1 for a privileged
 * device, whose nodes it leaves unchanged.
 *
 * Only the driver knows the owner of a device; sysfs does not show it.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { printable } from "../uapi/printable.ts";
import { UBLK_F_UNPRIVILEGED_DEV } from "../uapi/features.ts";
import { PinnedPath } from "../uring/rights.ts";

/** The node now belongs to the owner. */
const EXIT_OWNED = 0;
/** The device is privileged. */
const EXIT_PRIVILEGED = 1;
/** The command failed. */
const EXIT_FAILURE = 2;

async function giveToOwner(node: string | undefined): Promise<number> {
  const id = /^ublk[bc](\d+)$/.exec(node ?? "")?.[1];
  if (id === undefined) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: "ublk-own",
      reason: `${node ?? "nothing"} is not a node of a ublk device`,
      hint: "give ublkcN or ublkbN",
    });
  }
  // Pin the node before asking: meanwhile the device may be deleted, and its number and path reused by
  // another user. Then the answer is about that device, but the node that changes is nobody's.
  using path = new PinnedPath(`/dev/${node}`);
  await using control = await Control.open();
  const { flags, owner_uid } = await control.getDevInfo(Number(id));
  if ((flags & UBLK_F_UNPRIVILEGED_DEV) === 0) return EXIT_PRIVILEGED;
  path.giveTo(owner_uid);
  return EXIT_OWNED;
}

async function main(): Promise<number> {
  try {
    return await giveToOwner(Deno.args[0]);
  } catch (error) {
    if (!(error instanceof UblkError)) throw error;
    console.error(printable(`ublk-own: error: ${error.message}`));
    return EXIT_FAILURE;
  }
}

if (import.meta.main) Deno.exit(await main());
