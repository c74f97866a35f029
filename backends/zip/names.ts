/**
 * Names as FAT has them. Every entry has a short one, eight letters and three, unique in its folder
 * without regard to case; most have a long one of up to 255 UTF-16 units beside it.
 *
 * @module
 */

/** The name of a file or folder. */
export interface FatName {
  /** As it was meant to be called, as far as FAT can. */
  readonly long: string;
  /** Eleven bytes: name and extension, each filled with spaces. */
  readonly short: Uint8Array<ArrayBuffer>;
  /** The short name says it all, so that no long one is needed. */
  readonly isShort: boolean;
}

/** UTF-16 units of the longest name. */
const MAX_LONG = 255;
/** No name may have these (FAT specification, section 7); the path's separator is none of a name. */
// deno-lint-ignore no-control-regex -- that is what they are
const FORBIDDEN = /[\x00-\x1f\x7f"*/:<>?\\|]/g;
/** Short names have these only, of ASCII. */
const SHORT_FORBIDDEN = /[^A-Z0-9$%'\-_@~`!(){}^#&]/g;

/**
 * The parts of a member's path that name something. Whatever would lead out of the archive (`..`, a
 * leading `/`) is left out.
 */
export function pathParts(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== "." && part !== "..");
}

/** The last of a path's parts, or a stand-in where it has none. */
export function lastPart(path: string): string {
  const last = path.slice(path.lastIndexOf("/") + 1);
  // Nearly always it is that simple.
  if (last !== "" && last !== "." && last !== "..") return last;
  return pathParts(path).at(-1) ?? "_";
}

/** The name, or one much like it that is possible. */
export function possibleName(name: string): string {
  const allowed = name.replaceAll(FORBIDDEN, "_")
    // Windows drops these from a name that it looks up.
    .replace(/[. ]+$/, (end) => "_".repeat(end.length));
  return shortened(allowed, MAX_LONG);
}

/** A name with some text before its extension, within the longest that there is. */
function numbered(name: string, text: string): string {
  const dot = name.lastIndexOf(".");
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  return shortened(stem, MAX_LONG - text.length - extension.length) + text + extension;
}

/** Cut in the middle, before the extension, where it is too long. */
function shortened(name: string, most: number): string {
  if (name.length <= most) return name;
  const dot = name.lastIndexOf(".");
  const extension = dot > 0 && name.length - dot <= 16 ? name.slice(dot) : "";
  // Not amid a pair of surrogates.
  const stem = name.slice(0, most - extension.length).replace(/[\ud800-\udbff]$/, "");
  return stem + extension;
}

/** Upper-case units of UTF-16 by unit; made when the first name needs it. */
let upperCase: Uint16Array<ArrayBuffer> | undefined;

/**
 * The same for names that FAT takes for the same. It compares unit by unit through a table, as
 * Windows and Linux do: `ß` has no upper case of one unit, and is not `ss`.
 */
export function folded(name: string): string {
  // deno-lint-ignore no-control-regex -- ASCII begins with these
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
  // Such as `ᾳ`, whose upper case of one unit JavaScript does not tell, and `ᾼ`, which has it.
  const lower = text.toLowerCase();
  return lower.length === 1 ? lower.charCodeAt(0) : unit;
}

/**
 * The names of all that is in a folder, in the same order: of several that FAT would take for the same
 * the first keeps it, and the others get a number that makes no name of another member's.
 */
export function uniqueNames(wanted: readonly string[]): string[] {
  if (wanted.length < 2) return [...wanted];
  const taken = new Set<string>();
  // All that are the first of their name come before the first number is given.
  const repeated = wanted.map(folded).map((key) => taken.size === taken.add(key).size);
  const counts = new Map<string, number>();
  return wanted.map((name, index) => {
    if (!repeated[index]) return name;
    // Names that become the same where they are cut for a number count together: each trying all
    // the numbers of the others would take hours for a large folder.
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

/** As long as the longest number: a folder has at most 65536 entries. */
const LONGEST_NUMBER = " (65536)";

/** Names with their short ones, which are unique in the folder. The long ones must be. */
export function withShortNames(longs: readonly string[]): FatName[] {
  const taken = new Set(longs.map(folded));
  const counts = new Map<string, number>();
  return longs.map((long) => {
    const exact = exactShort(long);
    if (exact !== undefined) return { long, short: shortBytes(exact), isShort: true };
    return { long, short: shortBytes(inventedShort(long, taken, counts)), isShort: false };
  });
}

/** Name and extension of a name that is a short one as it is. */
function exactShort(long: string): [string, string] | undefined {
  const found = /^([^.]{1,8})(?:\.([^.]{1,3}))?$/.exec(long);
  if (found === null) return undefined;
  const [, name, extension = ""] = found;
  return (name + extension).search(SHORT_FORBIDDEN) < 0 ? [name, extension] : undefined;
}

/** Something like the name, with a number behind it (`LONGNA~1.TXT`), which nothing else has. */
function inventedShort(
  long: string,
  taken: Set<string>,
  counts: Map<string, number>,
): [string, string] {
  const plain = long.toUpperCase().replaceAll(" ", "").replace(/^\.+/, "");
  const dot = plain.lastIndexOf(".");
  const clean = (text: string) => text.replaceAll(".", "").replaceAll(SHORT_FORBIDDEN, "_");
  const name = clean(dot < 0 ? plain : plain.slice(0, dot)) || "_";
  const extension = dot < 0 ? "" : clean(plain.slice(dot)).slice(0, 3);
  // Names that begin alike are counted together, so that the many of a large folder are no search.
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

/** Directory entries that something of that long name takes. */
export function entriesOf(long: string): number {
  return exactShort(long) === undefined ? 1 + Math.ceil(long.length / UNITS_PER_ENTRY) : 1;
}

/** UTF-16 units of a long name in one entry. */
export const UNITS_PER_ENTRY = 13;
