/**
 * Rewrites errors of the library for a command line: `perIoDaemons` in a program is
 * `--per-io-daemons` there.
 *
 * @module
 */

import type { DeviceOption } from "../../device/option_row.ts";
import { DEVICE_OPTIONS } from "../../device/option_table.ts";
import { isUblkError, UblkError } from "../../uapi/error.ts";

/** Options of the library whose names are not English words, and the flags that set them. */
const FLAGS: Readonly<Record<string, string>> = {
  // Of a backend, and groups of a device's options.
  blockSize: "block-size",
  chunkSize: "chunk-size",
  maxSize: "max-size",
  sharedMemory: "shared-memory",
  zoneSize: "zone-size",
  ...Object.fromEntries((DEVICE_OPTIONS as readonly DeviceOption[]).flatMap(namesOf)),
};

/** The names of a device option, with its flag: `topology.ioOptBytes`, and `ioOptBytes` alone. */
function namesOf({ member, flag, negated }: DeviceOption): [name: string, flag: string][] {
  if (flag === undefined || negated) return [];
  const last = member.replace(/^.*\./, "");
  const names = [member, last].filter((name) => /[A-Z.]/.test(name));
  // If two options share a name, it means that of the device itself.
  const isTaken = member !== last && DEVICE_OPTIONS.some((row) => row.member === last);
  return names.filter((name) => name === member || !isTaken).map((name) => [name, flag]);
}

/**
 * Options whose names are also English words. They count as options only before a value, or in a
 * phrase such as "leave … out".
 */
const WORDS: Readonly<Record<string, string>> = {
  batch: "batch",
  create: "create",
  direct: "direct",
  integrity: "metadata-size",
  recovery: "recovery",
  size: "size",
  threads: "threads",
};

const NAMES = Object.keys(FLAGS).map((name) => name.replace(".", "\\.")).join("|");
const NAME = `(?:${NAMES}|${Object.keys(WORDS).join("|")})`;
/** Not preceded by a part of a path or a quote. */
const BY_ITSELF = "(?<![\\w./'\"`-])";
const PATTERNS: readonly RegExp[] = [
  new RegExp(`${BY_ITSELF}(?:${NAMES})(?![\\w./'"\`-])`, "g"),
  new RegExp(`(?<=\\bleave )${NAME}(?= out\\b)`, "g"),
  new RegExp(`(?<=\\bleave out )${NAME}\\b`, "g"),
  new RegExp(`(?<=\\bleave out \\S+ and )${NAME}\\b`, "g"),
  new RegExp(`(?<=\\bmade by )${NAME}(?= and\\b)`, "g"),
  new RegExp(`(?<=\\bmade by \\S+ and )${NAME}\\b`, "g"),
  new RegExp(`(?<=\\bwithout )${NAME}\\b(?! a\\b)`, "g"),
  new RegExp(`${BY_ITSELF}${NAME}(?= and \\S+ exclude\\b)`, "g"),
  new RegExp(`(?<= and )${NAME}(?= exclude\\b)`, "g"),
  new RegExp(`^${NAME}(?= needs\\b)`, "g"),
  new RegExp(`(?<=\\bis for )${NAME}(?=:)`, "g"),
  // In brackets alone: "shared memory" is a word.
  /(?<=\()shared(?=\))/g,
];

/** Rewrites the options in a text of the library as flags. */
export function asTyped(text: string): string {
  const flag = (name: string) => `--${FLAGS[name] ?? WORDS[name] ?? name}`;
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
