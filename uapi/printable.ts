/**
 * Escapes untrusted text before it is printed to a terminal, a log or an error message.
 *
 * A file's name, a key in an options file or the message of an exception may contain anything: an
 * escape sequence that clears the screen, a line break followed by a forged log line, marks that
 * reverse the direction of text. Such a character is replaced by its escape, as `ls` does. A
 * backslash stays as it is, so that escaping twice changes nothing.
 *
 * @module
 */

/**
 * Control characters (C0, DEL, C1), format characters (bidirectional marks and overrides, invisible
 * ones), line and paragraph separators, lone surrogates. The two joiners stay, because several
 * languages and many emoji need them.
 */
const UNPRINTABLE = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d]]/gv;

/** As `UNPRINTABLE`, without line breaks and tabs. */
const UNPRINTABLE_IN_TEXT = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d\n\t]]/gv;

/** The characters that JSON leaves unescaped. It escapes the C0 controls in strings by itself. */
const UNPRINTABLE_IN_JSON = /[[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--[\u200c\u200d]]/gv;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Escapes a text so that it is one line without control characters.
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

/** Escapes a text of several lines that we composed. Its line breaks and tabs stay. */
export function printableText(text: string): string {
  return text.replaceAll(UNPRINTABLE_IN_TEXT, escaped);
}

/** Escapes the unprintable characters of a JSON text. Its meaning stays the same. */
export function printableJson(json: string): string {
  return json.replaceAll(UNPRINTABLE_IN_JSON, (character) => {
    const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  });
}

/** Cuts a text to `limit` characters, with a mark where it was cut. */
export function shortened(text: string, limit = 500): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}…`;
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  if (code < 0x100) return SHORT[character] ?? `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\u{${code.toString(16)}}`;
}
