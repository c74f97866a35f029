/**
 * Rewrites errors of the library for a command line: `perIoDaemons` in a program is
 * `--per-io-daemons` there.
 *
 * @module
 */

import { isUblkError, UblkError } from "../../uapi/error.ts";

/** A row of the table of a device's options, as far as it counts here. */
export interface Named {
  /** The member of `DeviceOptions`: `depth`, `integrity.tagSize`. */
  readonly member: string;
  readonly flag?: string;
}

/** Options of disks whose names are not English words, and the flags that set them. */
const DISK_FLAGS: Readonly<Record<string, string>> = {
  blockSize: "block-size",
  chunkSize: "chunk-size",
  maxSize: "max-size",
  sharedMemory: "shared-memory",
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
  integrity: "metadata-size",
  recovery: "recovery",
  shared: "shared",
  size: "size",
  threads: "threads",
};

/** Not preceded by a part of a path or a quote. */
const BY_ITSELF = "(?<![\\w./'\"`-])";

/** Rewrites the options in a text of the library as flags. */
export function asTyped(text: string, options: readonly Named[]): string {
  const flags = { ...flagsOf(options), ...DISK_FLAGS, ...WORDS };
  const one = (names: readonly string[]) => `(?:${names.join("|").replaceAll(".", "\\.")})`;
  // The longest first: `integrity` is where `integrity.tagSize` begins.
  const names = Object.keys(flags).sort((a, b) => b.length - a.length);
  const name = one(names);
  const odd = one(names.filter((name) => !(name in WORDS)));
  const patterns = [
    `${BY_ITSELF}${odd}(?![\\w./'"\`-])`,
    `(?<=\\bleave )${name}(?= out\\b)`,
    `(?<=\\bleave out )${name}\\b`,
    `(?<=\\bleave out \\S+ and )${name}\\b`,
    `(?<=\\bwithout )${name}\\b(?! a\\b)`,
    `${BY_ITSELF}${name}(?= and \\S+ exclude\\b)`,
    `(?<=\\()${name}(?=\\))`,
    `(?<= and )${name}(?= exclude\\b)`,
  ];
  const flag = (name: string) => `--${flags[name]}`;
  const plain = text.replaceAll(
    new RegExp(`${BY_ITSELF}(${name}): "?([\\w-]+)"?(?=[,;]| or\\b|$)`, "g"),
    (_, name, value) => value === "true" ? flag(name) : `${flag(name)} ${value}`,
  );
  return patterns.reduce((shown, one) => shown.replaceAll(new RegExp(one, "g"), flag), plain);
}

/** The flags of options whose names no text has by chance. */
function flagsOf(options: readonly Named[]): Record<string, string> {
  const flags: Record<string, string> = {};
  for (const { member, flag } of options) {
    if (flag === undefined) continue;
    const last = member.split(".").at(-1)!;
    for (const name of [member, last]) if (/[A-Z.]/.test(name)) flags[name] ??= flag;
  }
  return flags;
}

/** Rewrites the options in an error of the library as flags; returns any other value unchanged. */
export async function withDashes(error: unknown): Promise<unknown> {
  if (!isUblkError(error)) return error;
  // Loaded on demand: a completion needs no table.
  const { DEVICE_OPTIONS } = await import("../../device/option_table.ts");
  const { code, operation, reason, hint, device, queue, errno, cause } = error;
  const typed = (text?: string) => text && asTyped(text, DEVICE_OPTIONS);
  const shown = { reason: typed(reason), hint: typed(hint) };
  if (shown.reason === reason && shown.hint === hint) return error;
  return new UblkError(code, { operation, ...shown, device, queue, errno, cause });
}
