/**
 * FAT names. Every entry has a short name of eight and three characters, unique in its folder without
 * regard to case. Most also have a long name of up to 255 UTF-16 units.
 *
 * @module
 */

/** The name of a file or folder. */
export interface FatName {
  /** The original name, as far as FAT allows it. */
  readonly long: string;
  /** Eleven bytes: name and extension, each padded with spaces. */
  readonly short: Uint8Array<ArrayBuffer>;
  /** Whether the short name equals the long one, which is then omitted. */
  readonly isShort: boolean;
}

/** Maximum length of a name, in UTF-16 units. */
const MAX_LONG = 255;
/** Characters forbidden in names (FAT specification, section 7), and the path separator. */
// deno-lint-ignore no-control-regex -- control characters are forbidden
const FORBIDDEN = /[\x00-\x1f\x7f"*/:<>?\\|]/g;
/** Characters forbidden in short names. */
const SHORT_FORBIDDEN = /[^A-Z0-9$%'\-_@~`!(){}^#&]/g;

/**
 * The parts of a member's path. Those that would lead out of the archive (`..`, a leading `/`) are
 * omitted.
 */
export function pathParts(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== "." && part !== "..");
}

/** The last part of a path, or a placeholder if it has none. */
export function lastPart(path: string): string {
  const last = path.slice(path.lastIndexOf("/") + 1);
  // The fast path, nearly always taken.
  if (last !== "" && last !== "." && last !== "..") return last;
  return pathParts(path).at(-1) ?? "_";
}

/** The name, or a similar one that FAT allows. */
export function validName(name: string): string {
  const allowed = name.replaceAll(FORBIDDEN, "_")
    // Windows drops trailing dots and spaces when it looks up a name.
    .replace(/[. ]+$/, (end) => "_".repeat(end.length));
  return shortened(allowed, MAX_LONG);
}

/** A name with `text` inserted before its extension, cut to the maximum length. */
function numbered(name: string, text: string): string {
  const dot = name.lastIndexOf(".");
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  return shortened(stem, MAX_LONG - text.length - extension.length) + text + extension;
}

/** Cuts a name that is too long before its extension. */
function shortened(name: string, most: number): string {
  if (name.length <= most) return name;
  const dot = name.lastIndexOf(".");
  const extension = dot > 0 && name.length - dot <= 16 ? name.slice(dot) : "";
  // Do not split a surrogate pair.
  const stem = name.slice(0, most - extension.length).replace(/[\ud800-\udbff]$/, "");
  return stem + extension;
}

/** The upper-case unit of each UTF-16 unit; created when first needed. */
let upperCase: Uint16Array<ArrayBuffer> | undefined;

/**
 * The case-folded form of a name, equal for names that FAT considers equal. Comparison is unit by unit
 * through a table, as in Windows and Linux: `ß` has no upper case of one unit, and does not equal
 * `ss`.
 */
export function folded(name: string): string {
  // deno-lint-ignore no-control-regex -- ASCII starts with control characters
  if (/^[\x00-\x7f]*$/.test(name)) return name.toUpperCase();
  upperCase ??= Uint16Array.from({ length: 0x10000 }, (_, unit) => upperCaseOf(unit));
  let key = "";
  for (let at = 0; at < name.length; at++) {
    key += String.fromCharCode(upperCase[name.charCodeAt(at)]);
  }
  return key;
}

function upperCaseOf(unit: number): number {
  const text = String.fromCharCode(unit);
  const upper = text.toUpperCase();
  if (upper.length === 1) return upper.charCodeAt(0);
  // For `ᾳ` JavaScript returns two units; `ᾼ` is its upper case of one unit.
  const lower = text.toLowerCase();
  return lower.length === 1 ? lower.charCodeAt(0) : unit;
}

/**
 * Unique names for the contents of a folder, in the same order. Of several names that FAT considers
 * equal the first stays, and the others get a number that avoids the names of other members.
 */
export function uniqueNames(wanted: readonly string[]): string[] {
  if (wanted.length < 2) return [...wanted];
  const taken = new Set<string>();
  // Register all first occurrences before any number is assigned.
  const repeated = wanted.map(folded).map((key) => taken.size === taken.add(key).size);
  const counts = new Map<string, number>();
  return wanted.map((name, index) => {
    if (!repeated[index]) return name;
    // Names that become equal when cut for a number share a counter. If each tried all numbers of
    // the others, a large folder would take hours.
    const kind = folded(numbered(name, LONGEST_NUMBER));
    for (let count = (counts.get(kind) ?? 1) + 1;; count++) {
      const found = numbered(name, ` (${count})`);
      const key = folded(found);
      if (taken.has(key)) continue;
      taken.add(key);
      counts.set(kind, count);
      return found;
    }
  });
}

/** The longest number: a folder has at most 65536 entries. */
const LONGEST_NUMBER = " (65536)";

/** Adds short names, unique in the folder. The long names must be unique. */
export function withShortNames(longs: readonly string[]): FatName[] {
  const taken = new Set(longs.map(folded));
  const counts = new Map<string, number>();
  return longs.map((long) => {
    const exact = exactShort(long);
    if (exact !== undefined) return { long, short: shortBytes(exact), isShort: true };
    return { long, short: shortBytes(generatedShort(long, taken, counts)), isShort: false };
  });
}

/** Name and extension of a name that is a valid short name. Otherwise undefined. */
function exactShort(long: string): [string, string] | undefined {
  const found = /^([^.]{1,8})(?:\.([^.]{1,3}))?$/.exec(long);
  if (found === null) return undefined;
  const [, name, extension = ""] = found;
  return (name + extension).search(SHORT_FORBIDDEN) < 0 ? [name, extension] : undefined;
}

/** A unique short name that resembles the long one, with a number (`LONGNA~1.TXT`). */
function generatedShort(
  long: string,
  taken: Set<string>,
  counts: Map<string, number>,
): [string, string] {
  const plain = long.toUpperCase().replaceAll(" ", "").replace(/^\.+/, "");
  const dot = plain.lastIndexOf(".");
  const clean = (text: string) => text.replaceAll(".", "").replaceAll(SHORT_FORBIDDEN, "_");
  const name = clean(dot < 0 ? plain : plain.slice(0, dot)) || "_";
  const extension = dot < 0 ? "" : clean(plain.slice(dot)).slice(0, 3);
  // Names with the same start share a counter, so that a large folder needs no search.
  const kind = `${name.slice(0, 2)}.${extension}`;
  for (let count = (counts.get(kind) ?? 0) + 1;; count++) {
    const tail = `~${count}`;
    const short: [string, string] = [name.slice(0, 8 - tail.length) + tail, extension];
    const text = extension === "" ? short[0] : short.join(".");
    if (taken.has(text)) continue;
    taken.add(text);
    counts.set(kind, count);
    return short;
  }
}

function shortBytes([name, extension]: readonly [string, string]): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(name.padEnd(8) + extension.padEnd(3));
}

/** Directory entries that an item with this long name takes. */
export function entriesOf(long: string): number {
  return exactShort(long) === undefined ? 1 + Math.ceil(long.length / UNITS_PER_ENTRY) : 1;
}

/** UTF-16 units of a long name per entry. */
export const UNITS_PER_ENTRY = 13;
