/**
 * Errors of the library in the words of a command line: what a program calls `perIoDaemons` is typed
 * `--per-io-daemons`.
 *
 * @module
 */

import { isUblkError, UblkError } from "../../uapi/error.ts";

/** Options of the library whose names are none in any language, and the flags that set them. */
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

/** Options that are words too: they are meant where something is to be left out, or has a value. */
const WORDS: Readonly<Record<string, string>> = {
  batch: "batch",
  create: "create",
  direct: "direct",
  integrity: "metadata-size",
  recovery: "recovery",
  shared: "shared",
  size: "size",
  threads: "threads",
};

const NAME = `(?:${[...Object.keys(FLAGS), ...Object.keys(WORDS)].join("|")})`;
/** Neither a part of a path nor quoted. */
const BY_ITSELF = "(?<![\\w./'\"`-])";
const PATTERNS: readonly RegExp[] = [
  new RegExp(`${BY_ITSELF}(?:${Object.keys(FLAGS).join("|")})(?![\\w./'"\`-])`, "g"),
  new RegExp(`(?<=\\bleave )${NAME}(?= out\\b)`, "g"),
  new RegExp(`(?<=\\bleave out )${NAME}\\b`, "g"),
  new RegExp(`(?<=\\bleave out \\S+ and )${NAME}\\b`, "g"),
  new RegExp(`(?<=\\bwithout )${NAME}\\b(?! a\\b)`, "g"),
  new RegExp(`${BY_ITSELF}${NAME}(?= and \\S+ exclude\\b)`, "g"),
  new RegExp(`(?<=\\()${NAME}(?=\\))`, "g"),
  new RegExp(`(?<= and )${NAME}(?= exclude\\b)`, "g"),
];

/** A text of the library with its options as they are typed. */
export function asTyped(text: string): string {
  const flag = (name: string) => `--${FLAGS[name] ?? WORDS[name]}`;
  const plain = text.replaceAll(
    new RegExp(`${BY_ITSELF}(${NAME}): "?([\\w-]+)"?(?=[,;]| or\\b|$)`, "g"),
    (_, name, value) => value === "true" ? flag(name) : `${flag(name)} ${value}`,
  );
  return PATTERNS.reduce((shown, pattern) => shown.replaceAll(pattern, flag), plain);
}

/** An error of the library with its options as they are typed; anything else as it is. */
export function withDashes(error: unknown): unknown {
  if (!isUblkError(error)) return error;
  const { code, operation, reason, hint, device, queue, errno, cause } = error;
  const shown = { reason: reason && asTyped(reason), hint: hint && asTyped(hint) };
  if (shown.reason === reason && shown.hint === hint) return error;
  return new UblkError(code, { operation, ...shown, device, queue, errno, cause });
}
