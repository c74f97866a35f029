/**
 * Checks of a file of options before parsing. The parsers recurse for each bracket, and process a
 * string on the stack.
 *
 * @module
 */

/** The longest file, in characters: some ten thousand devices. */
const MAX_FILE = 1 << 20;
/** The longest string. A command-line argument has 128 KiB at most. */
const MAX_STRING = 1 << 16;
/** The deepest nesting of lists and tables. */
const MAX_DEPTH = 64;

/** A mistake in a file. */
export class SyntaxMistake extends Error {
  /** `LINE:COLUMN`. */
  readonly at: string;

  /** Creates one from its position and cause. */
  constructor(at: string, cause: string) {
    super(cause);
    this.at = at;
  }
}

/** Delimiters of strings and comments in each language. */
const QUOTES: Readonly<Record<"toml" | "json", readonly (readonly [string, string])[]>> = {
  toml: [['"""', '"""'], ["'''", "'''"], ['"', '"'], ["'", "'"], ["#", "\n"]],
  json: [['"', '"']],
};

/**
 * Rejects a file that is too large, too deeply nested, or has too long a string.
 *
 * @throws {SyntaxMistake}
 */
export function checkLimits(text: string, language: "toml" | "json"): void {
  if (text.length > MAX_FILE) {
    throw new SyntaxMistake("1:1", `it has more than ${MAX_FILE} characters`);
  }
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "[" || character === "{") {
      if (++depth > MAX_DEPTH) {
        throw new SyntaxMistake(
          placeOf(text, at),
          `it is nested deeper than ${MAX_DEPTH} brackets`,
        );
      }
    } else if (character === "]" || character === "}") {
      depth = Math.max(0, depth - 1);
    } else {
      const quote = QUOTES[language].find(([begin]) => text.startsWith(begin, at));
      if (quote !== undefined) at = endOf(text, at, quote);
    }
  }
}

/** The end of a string or comment that starts at `start`. */
function endOf(text: string, start: number, [begin, end]: readonly [string, string]): number {
  // Backslashes escape only in double quotes. Single-line strings and comments end at the end of
  // the line.
  const escapes = begin.startsWith('"');
  const isLong = begin.length === 3;
  let at = start + begin.length;
  for (; at < text.length && !text.startsWith(end, at); at++) {
    if (!isLong && text[at] === "\n") break;
    if (escapes && text[at] === "\\") at++;
  }
  if (end !== "\n" && at - start > MAX_STRING) {
    const cause = `it has a text of more than ${MAX_STRING} characters`;
    throw new SyntaxMistake(placeOf(text, start), cause);
  }
  return at + end.length - 1;
}

/** `LINE:COLUMN` of a character; both count from 1. */
export function placeOf(text: string, at: number): string {
  const before = text.slice(0, at).split("\n");
  return `${before.length}:${before.at(-1)!.length + 1}`;
}
