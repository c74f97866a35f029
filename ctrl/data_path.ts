/**
 * The data paths between kernel and server, and the flags that each one conflicts with.
 *
 * @module
 */

import { DATA_PATH_FLAGS, DATA_PATHS, type DataPathName } from "../uapi/data_path.ts";
import { UblkError } from "../uapi/error.ts";
import {
  FEATURES,
  UBLK_F_AUTO_BUF_REG,
  UBLK_F_BATCH_IO,
  UBLK_F_INTEGRITY,
  UBLK_F_NEED_GET_DATA,
  UBLK_F_SHMEM_ZC,
  UBLK_F_SUPPORT_ZERO_COPY,
  UBLK_F_UNPRIVILEGED_DEV,
  UBLK_F_USER_COPY,
  UBLK_F_ZONED,
} from "../uapi/features.ts";

/** Data paths in the order of matching: those with more flags first. */
const BY_FLAGS: readonly DataPathName[] = [
  "auto-zero-copy-fallback",
  "auto-zero-copy",
  "zero-copy",
  "user-copy",
  "get-data",
];

/** Returns the data path that a device's flags select. */
export function pathOf(flags: number): DataPathName {
  const has = (path: DataPathName) => (flags & DATA_PATH_FLAGS[path]) === DATA_PATH_FLAGS[path];
  return BY_FLAGS.find(has) ?? "copy";
}

/** Formats flags with their kernel versions: `"ZONED (Linux 6.6)"`, separated by commas. */
export function withKernels(flags: number): string {
  return FEATURES.filter(({ flag }) => (flags & flag) !== 0)
    .map(({ name, kernel }) => `${name.slice("UBLK_F_".length)} (Linux ${kernel})`)
    .join(", ");
}

/** Returns the reason why a data path conflicts with required flags, or "". */
export function conflict(path: DataPathName, required: number): string {
  const flag = DATA_PATH_FLAGS[path];
  const COPIED_BY_SERVER = UBLK_F_USER_COPY | UBLK_F_SUPPORT_ZERO_COPY;
  // These would let any user's server write to other users' pages, so the driver answers EINVAL.
  if (required & UBLK_F_UNPRIVILEGED_DEV && flag & (COPIED_BY_SERVER | UBLK_F_AUTO_BUF_REG)) {
    return `unprivileged devices exclude ${path}`;
  }
  // The address field of a commit carries the sector of a zone append.
  if (required & UBLK_F_ZONED && (flag & COPIED_BY_SERVER) === 0) {
    return "zoned devices need user-copy or zero-copy";
  }
  if (required & UBLK_F_INTEGRITY && flag !== UBLK_F_USER_COPY) {
    return "integrity metadata needs user-copy";
  }
  if (required & UBLK_F_BATCH_IO && flag === UBLK_F_NEED_GET_DATA) {
    return `batch I/O excludes ${path}`;
  }
  // GET_DATA overwrites the descriptor's address, which locates the data in shared memory.
  if (required & UBLK_F_SHMEM_ZC && flag === UBLK_F_NEED_GET_DATA) {
    return `shared memory excludes ${path}`;
  }
  return "";
}

/**
 * Chooses the first data path that is possible, and notes skipped ones in `reductions`.
 *
 * @throws {UblkError} `KERNEL_TOO_OLD` or `INVALID_ARGUMENT` if none is possible.
 */
export function choosePath(
  paths: readonly DataPathName[],
  required: number,
  features: number,
  reductions: string[],
): DataPathName {
  const refused: string[] = [];
  let tooOld = false;
  for (const path of paths) {
    const missing = DATA_PATH_FLAGS[path] & ~features;
    const why = conflict(path, required) ||
      (missing === 0 ? "" : `the kernel lacks ${withKernels(missing)}`);
    if (why === "") {
      if (refused.length > 0) reductions.push(`${refused.join("; ")}; using "${path}"`);
      return path;
    }
    tooOld ||= missing !== 0;
    refused.push(`no data path "${path}": ${why}`);
  }
  const reason = refused.join("; ") || "no data path was given";
  // Paths that the backend cannot use were removed earlier, as far as known.
  const others = DATA_PATHS.filter((path) =>
    conflict(path, required) === "" && (DATA_PATH_FLAGS[path] & ~features) === 0
  );
  const hint = `this device can have ${others.join(", ")}`;
  throw new UblkError(tooOld ? "KERNEL_TOO_OLD" : "INVALID_ARGUMENT", {
    operation: "ADD_DEV",
    reason,
    hint,
  });
}
