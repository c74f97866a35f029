/**
 * The ways in which data travels between the kernel and a server, and the feature flags of each.
 * Everything that knows data paths by name has the names from here.
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

/** How a request's bytes get from the kernel to the server and back. */
export type DataPathName =
  /** The kernel copies into and out of the tag's buffer. */
  | "copy"
  /** The same, but a WRITE's buffer is chosen when it has arrived. */
  | "get-data"
  /** The server copies, with reads and writes of the char device. */
  | "user-copy"
  /** The server registers the request's pages with its ring. */
  | "zero-copy"
  /** The kernel does so by itself. */
  | "auto-zero-copy"
  /**
   * The kernel is made to fail at that, for each request, and the server does it after all: as
   * kublk's `--auto_zc_fallback`, a way to exercise the fallback.
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

/** Whether the pages of requests become buffers of the server's ring. */
export function isZeroCopy(path: DataPathName): boolean {
  return (DATA_PATH_FLAGS[path] & (UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_AUTO_BUF_REG)) !== 0;
}

assert(
  new Set(Object.values(DATA_PATH_FLAGS)).size === DATA_PATHS.length,
  "flags tell data paths apart",
);
