/**
 * Names as FAT has them. Every entry has a short one, eight letters and three, unique in its folder
 * without regard to case; most have a long one of up to 255 UTF-16 units beside it.
 *
 * @module
 */

/** What something is called. */
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
 * The parts of a member's path that name something, each as FAT can have it. Whatever would lead out
 * of the archive (`..`, a leading `/`) is left out; a `\` separates too, as some archivers have it.
 */
export function pathParts(path: string): string[] {
  return path.split(/[/\\]/).filter((part) => !["", ".", ".."].includes(part)).map(possibleName);
}

/** The name, or one much like it that is possible. */
export function possibleName(name: string): string {
  const allowed = name.replaceAll(FORBIDDEN, "_")
    // Whoever looks up a name loses these.
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

/** What two names have in common that FAT takes for the same. */
export function folded(name: string): string {
  return name.toUpperCase();
}

/**
 * The names of all that is in a folder, in the same order: of several that FAT would take for the same
 * the first keeps it, and the others get a number.
 */
export function namesOf(wanted: readonly string[]): FatName[] {
  const taken = new Set<string>();
  const longs = unique(wanted, taken);
  const names: (FatName | undefined)[] = longs.map((long) => {
    const short = exactShort(long);
    return short === undefined ? undefined : { long, short: shortBytes(short), isShort: true };
  });
  const counts = new Map<string, number>();
  return names.map((name, index) => {
    if (name !== undefined) return name;
    const long = longs[index];
    return { long, short: shortBytes(inventedShort(long, taken, counts)), isShort: false };
  });
}

function unique(wanted: readonly string[], taken: Set<string>): string[] {
  const counts = new Map<string, number>();
  return wanted.map((name) => {
    const key = folded(name);
    let found = name;
    while (taken.has(folded(found))) {
      const count = (counts.get(key) ?? 1) + 1;
      counts.set(key, count);
      found = numbered(name, ` (${count})`);
    }
    taken.add(folded(found));
    return found;
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

/** Directory entries that something of that name takes. */
export function entriesOf({ long, isShort }: FatName): number {
  return isShort ? 1 : 1 + Math.ceil(long.length / UNITS_PER_ENTRY);
}

/** UTF-16 units of a long name in one entry. */
export const UNITS_PER_ENTRY = 13;
