/**
 * The ways in which data travels between the kernel and the server, and which of them go together
 * with what.
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

/** Paths in the order in which their flags decide: those of more flags first. */
const BY_FLAGS: readonly DataPathName[] = [
  "auto-zero-copy-fallback",
  "auto-zero-copy",
  "zero-copy",
  "user-copy",
  "get-data",
];

/** The data path that a device's flags mean. */
export function pathOf(flags: number): DataPathName {
  const has = (path: DataPathName) => (flags & DATA_PATH_FLAGS[path]) === DATA_PATH_FLAGS[path];
  return BY_FLAGS.find(has) ?? "copy";
}

/** `"ZONED (Linux 6.6)"` for each flag. */
export function withKernels(flags: number): string {
  return FEATURES.filter(({ flag }) => (flags & flag) !== 0)
    .map(({ name, kernel }) => `${name.slice("UBLK_F_".length)} (Linux ${kernel})`)
    .join(", ");
}

/** Why a data path cannot go together with flags that are required, or "". */
export function conflict(path: DataPathName, required: number): string {
  const flag = DATA_PATH_FLAGS[path];
  const COPIED_BY_SERVER = UBLK_F_USER_COPY | UBLK_F_SUPPORT_ZERO_COPY;
  // It would let any user's server write into foreign pages, so the driver answers EINVAL.
  if (required & UBLK_F_UNPRIVILEGED_DEV && flag & (COPIED_BY_SERVER | UBLK_F_AUTO_BUF_REG)) {
    return `unprivileged devices exclude ${path}`;
  }
  // The address field of a commit carries the place of a zone append.
  if (required & UBLK_F_ZONED && (flag & COPIED_BY_SERVER) === 0) {
    return "zoned devices need user-copy or zero-copy";
  }
  if (required & UBLK_F_INTEGRITY && flag !== UBLK_F_USER_COPY) {
    return "integrity metadata needs user-copy";
  }
  if (required & UBLK_F_BATCH_IO && flag === UBLK_F_NEED_GET_DATA) {
    return `batch I/O excludes ${path}`;
  }
  // GET_DATA overwrites the descriptor's address, which says where in shared memory the data is.
  if (required & UBLK_F_SHMEM_ZC && flag === UBLK_F_NEED_GET_DATA) {
    return `shared memory excludes ${path}`;
  }
  return "";
}

/**
 * The first data path that will do; what was passed over is said in `reductions`.
 *
 * @throws {UblkError} `KERNEL_TOO_OLD` or `INVALID_ARGUMENT` if none does.
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
  // What the backend cannot do has been taken out before, where that is known.
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
