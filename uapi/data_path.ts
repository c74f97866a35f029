/**
 * The data paths between the kernel and a server, and the feature flags of each. All other modules
 * take the names of data paths from here.
 *
 * @module
 */

import { assert } from "./error.ts";
import {
  UBLK_F_AUTO_BUF_REG,
  UBLK_F_NEED_GET_DATA,
  UBLK_F_SUPPORT_ZERO_COPY,
  UBLK_F_USER_COPY,
} from "./features.ts";

/** The way a request's data travels between the kernel and the server. */
export type DataPathName =
  /** The kernel copies into and out of the tag's buffer. */
  | "copy"
  /** As `copy`, but a WRITE's buffer is chosen after the request has arrived. */
  | "get-data"
  /** The server copies, by reading and writing the char device. */
  | "user-copy"
  /** The server registers the request's pages with its ring. */
  | "zero-copy"
  /** The kernel registers the pages by itself. */
  | "auto-zero-copy"
  /**
   * As `auto-zero-copy`, but the kernel's registration is made to fail for every request, so that
   * the server registers the pages instead. Exercises the fallback, as kublk's
   * `--auto_zc_fallback` does.
   */
  | "auto-zero-copy-fallback";

/** The `UBLK_F_*` of each data path. */
export const DATA_PATH_FLAGS: Readonly<Record<DataPathName, number>> = {
  "copy": 0,
  "get-data": UBLK_F_NEED_GET_DATA,
  "user-copy": UBLK_F_USER_COPY,
  "zero-copy": UBLK_F_SUPPORT_ZERO_COPY,
  "auto-zero-copy": UBLK_F_AUTO_BUF_REG,
  "auto-zero-copy-fallback": UBLK_F_AUTO_BUF_REG | UBLK_F_SUPPORT_ZERO_COPY,
};

/** The names of all data paths. */
export const DATA_PATHS: readonly DataPathName[] = Object.keys(DATA_PATH_FLAGS) as DataPathName[];

/** Whether a request's pages become a registered buffer of the server's ring. */
export function isZeroCopy(path: DataPathName): boolean {
  return (DATA_PATH_FLAGS[path] & (UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_AUTO_BUF_REG)) !== 0;
}

assert(
  new Set(Object.values(DATA_PATH_FLAGS)).size === DATA_PATHS.length,
  "flags tell data paths apart",
);
