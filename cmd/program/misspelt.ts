/**
 * "Did you mean …?": what a word that nobody knows may have been meant for.
 *
 * Whoever throws an error about such a word notes beside it which words there are. The library that
 * compares them is loaded once the error is about to be shown, so that no other command waits for it.
 *
 * @module
 */

import { isUblkError, UblkError } from "../../uapi/error.ts";

/** A word that is not known. */
interface Misspelling {
  /** As it was typed. */
  readonly word: string;
  /** The words that there are. */
  readonly known: readonly string[];
  /** The remedy with the word that is meant. */
  readonly remedy: (word: string) => string;
}

const noted = new WeakMap<UblkError, Misspelling>();

/** The longest word that is compared: a longer one is no slip of a finger. */
const LONGEST_WORD = 40;

/**
 * Notes beside an error which words there are, for {@linkcode withSuggestion}.
 *
 * @param remedy What to say with the word that is meant. Default: `did you mean WORD?`
 * @returns The error.
 */
export function misspelt(
  error: UblkError,
  word: string,
  known: readonly string[],
  remedy: (word: string) => string = (meant) => `did you mean ${meant}?`,
): UblkError {
  noted.set(error, { word, known, remedy });
  return error;
}

/** Notes beside an error what is noted beside another, of which it is made. */
export function likewise(error: UblkError, other: UblkError): UblkError {
  const found = noted.get(other);
  if (found !== undefined) noted.set(error, found);
  return error;
}

/** The error with the word that is meant for its remedy; itself where no word is close. */
export async function withSuggestion(error: unknown): Promise<unknown> {
  // What a module throws may be a Proxy that throws when it is asked.
  if (!isUblkError(error)) return error;
  const found = noted.get(error);
  const meant = found === undefined ? undefined : await closest(found.word, found.known);
  if (found === undefined || meant === undefined) return error;
  const { code, operation, reason, cause } = error;
  return new UblkError(code, { operation, reason, hint: found.remedy(meant), cause });
}

/**
 * The known word that another was meant for: one that a slip or two lead to (two letters that have
 * changed places are two), or the only one that it begins.
 */
export async function closest(
  word: string,
  known: readonly string[],
): Promise<string | undefined> {
  const plain = word.replaceAll("_", "-").toLowerCase();
  if (plain.length < 2 || plain.length > LONGEST_WORD || known.length === 0) return undefined;
  const { closestString, levenshteinDistance } = await import("@std/text");
  const nearest = closestString(plain, known);
  const slips = levenshteinDistance(plain, nearest.replaceAll("_", "-").toLowerCase());
  // Of four letters, two others are another word: "nope" is no "type".
  if (slips <= (plain.length < 5 ? 1 : plain.length < 9 ? 2 : 3)) return nearest;
  const begun = plain.length < 3 ? [] : known.filter((one) => one.startsWith(plain));
  return begun.length === 1 ? begun[0] : undefined;
}
