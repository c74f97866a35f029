/**
 * The fate of a device whose server is gone, as names and as the driver's flags.
 *
 * @module
 */

import {
  UBLK_F_USER_RECOVERY,
  UBLK_F_USER_RECOVERY_FAIL_IO,
  UBLK_F_USER_RECOVERY_REISSUE,
} from "../uapi/features.ts";

/** The fate of requests and of the device when the server is gone. */
export type RecoveryMode =
  /** Requests in flight fail; new ones wait for `recover`. */
  | "queue"
  /** Requests in flight and new ones wait for `recover`; those in flight are reissued. */
  | "reissue"
  /** All requests fail until `recover`. */
  | "fail";

/** The `UBLK_F_*` flags of each mode. */
export const RECOVERY_FLAGS: Readonly<Record<RecoveryMode, number>> = {
  "queue": UBLK_F_USER_RECOVERY,
  "reissue": UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE,
  "fail": UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_FAIL_IO,
};

/** The names of all modes. */
export const RECOVERY_MODES: readonly RecoveryMode[] = ["queue", "reissue", "fail"];

/** The mode in a device's flags; undefined if the device is deleted with its server. */
export function recoveryOf(flags: number): RecoveryMode | undefined {
  if ((flags & UBLK_F_USER_RECOVERY) === 0) return undefined;
  if ((flags & UBLK_F_USER_RECOVERY_FAIL_IO) !== 0) return "fail";
  return (flags & UBLK_F_USER_RECOVERY_REISSUE) !== 0 ? "reissue" : "queue";
}
