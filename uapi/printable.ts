/**
 * Text that others wrote, made safe to show: to a terminal, in a log, in an error.
 *
 * A file's name, a key of a file of options or the message of an exception may contain anything: an
 * escape sequence that clears the screen, a line break with a forged line of log behind it, marks
 * that turn the direction of writing around. Such a character is shown by its escape instead, as
 * `ls` shows it. A backslash stays as it is, so that escaping twice changes nothing.
 *
 * @module
 */

/**
 * Control characters (C0, DEL, C1), format characters (bidirectional marks and overrides, invisible
 * ones), line and paragraph separators, halves of surrogate pairs. The two joiners stay: words of
 * several languages, and many emoji, need them.
 */
const UNPRINTABLE = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d]]/gv;

/** The same but for the line breaks and tabs of a text of several lines. */
const UNPRINTABLE_IN_TEXT = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d\n\t]]/gv;

/** What JSON itself leaves as it is. Within its strings there is no bare control character. */
const UNPRINTABLE_IN_JSON = /[[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d]]/gv;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * A text as one line without control characters.
 *
 * @example A name with a line break and an escape sequence
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { printable } from "./printable.ts";
 *
 * assertEquals(printable("a\n\x1b[2Jb"), "a\\n\\x1b[2Jb");
 * ```
 */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, escaped);
}

/** A text of our own, of several lines: its line breaks and tabs stay. */
export function printableText(text: string): string {
  return text.replaceAll(UNPRINTABLE_IN_TEXT, escaped);
}

/** JSON that shows nothing by itself either; it means the same as before. */
export function printableJson(json: string): string {
  return json.replaceAll(UNPRINTABLE_IN_JSON, (character) => {
    const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  });
}

/** A text cut to so many characters, with a mark where it was cut. */
export function shortened(text: string, limit = 500): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}…`;
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  if (code < 0x100) return SHORT[character] ?? `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\u{${code.toString(16)}}`;
}
