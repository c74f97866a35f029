/**
 * Rewrites errors of the library for a command line: `perIoDaemons` in a program is
 * `--per-io-daemons` there.
 *
 * @module
 */

import { isUblkError, UblkError } from "../../uapi/error.ts";

/** Options of the library whose names are not English words, and the flags that set them. */
const FLAGS: Readonly<Record<string, string>> = {
  blockSize: "block-size",
  chunkSize: "chunk-size",
  dataPath: "data-path",
  deadlineMs: "deadline",
  maxIoBytes: "max-io",
  maxSize: "max-size",
  metadataSize: "metadata-size",
  noPartitionScan: "no-partition-scan",
  perIoDaemons: "per-io-daemons",
  piOffset: "pi-offset",
  readOnly: "read-only",
  refTag: "reference-tag",
  sharedMemory: "shared-memory",
  tagSize: "tag-size",
  zoneSize: "zone-size",
};

/**
 * Options whose names are also English words. They count as options only before a value, or in a
 * phrase such as "leave … out".
 */
const WORDS: Readonly<Record<string, string>> = {
  batch: "batch",
  create: "create",
  direct: "direct",
  exclusive: "exclusive",
  integrity: "metadata-size",
  recovery: "recovery",
  size: "size",
  threads: "threads",
};

const NAME = `(?:${[...Object.keys(FLAGS), ...Object.keys(WORDS)].join("|")})`;
/** Not preceded by a part of a path or a quote. */
const BY_ITSELF = "(?<![\\w./'\"`-])";
const PATTERNS: readonly RegExp[] = [
  new RegExp(`${BY_ITSELF}(?:${Object.keys(FLAGS).join("|")})(?![\\w./'"\`-])`, "g"),
  new RegExp(`(?<=\\bleave )${NAME}(?= out\\b)`, "g"),
  new RegExp(`(?<=\\bleave out )${NAME}\\b`, "g"),
  new RegExp(`(?<=\\bleave out \\S+ and )${NAME}\\b`, "g"),
  new RegExp(`(?<=\\bwithout )${NAME}\\b(?! a\\b)`, "g"),
  new RegExp(`${BY_ITSELF}${NAME}(?= and \\S+ exclude\\b)`, "g"),
  new RegExp(`(?<= and )${NAME}(?= exclude\\b)`, "g"),
];

/** Rewrites the options in a text of the library as flags. */
export function asTyped(text: string): string {
  const flag = (name: string) => `--${FLAGS[name] ?? WORDS[name]}`;
  const plain = text.replaceAll(
    new RegExp(`${BY_ITSELF}(${NAME}): "?([\\w-]+)"?(?=[,;]| or\\b|$)`, "g"),
    (_, name, value) => value === "true" ? flag(name) : `${flag(name)} ${value}`,
  );
  return PATTERNS.reduce((shown, pattern) => shown.replaceAll(pattern, flag), plain);
}

/** Rewrites the options in an error of the library as flags; returns any other value unchanged. */
export function withDashes(error: unknown): unknown {
  if (!isUblkError(error)) return error;
  const { code, operation, reason, hint, device, queue, errno, cause } = error;
  const shown = { reason: reason && asTyped(reason), hint: hint && asTyped(hint) };
  if (shown.reason === reason && shown.hint === hint) return error;
  return new UblkError(code, { operation, ...shown, device, queue, errno, cause });
}
