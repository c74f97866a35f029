/**
 * "Did you mean …?": suggestions for unknown words.
 *
 * Code that throws an error about an unknown word attaches the known words to it. The library that
 * compares them is loaded when the error is about to be shown, so other commands do not wait for
 * it.
 *
 * @module
 */

import { isUblkError, UblkError } from "../../uapi/error.ts";

/** An unknown word. */
interface Misspelling {
  /** The word as typed. */
  readonly word: string;
  /** The known words. */
  readonly known: readonly string[];
  /** The remedy for the word that is meant. */
  readonly remedy: (word: string) => string;
}

const noted = new WeakMap<UblkError, Misspelling>();

/** The longest word that is compared: longer words are not typing slips. */
const LONGEST_WORD = 40;

/**
 * Attaches the known words to an error, for {@linkcode withSuggestion}.
 *
 * @param remedy Returns the remedy for the word that is meant. Default: `did you mean WORD?`
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

/** Copies the attached words from the error that another is made from. */
export function likewise(error: UblkError, other: UblkError): UblkError {
  const found = noted.get(other);
  if (found !== undefined) noted.set(error, found);
  return error;
}

/**
 * Returns the error with a remedy that names the intended word; the error itself if no word is
 * close.
 */
export async function withSuggestion(error: unknown): Promise<unknown> {
  // A module may throw a Proxy that throws on any access.
  if (!isUblkError(error)) return error;
  const found = noted.get(error);
  const meant = found === undefined ? undefined : await closest(found.word, found.known);
  if (found === undefined || meant === undefined) return error;
  const { code, operation, reason, cause } = error;
  return new UblkError(code, { operation, reason, hint: found.remedy(meant), cause });
}

/**
 * The known word that was meant: one within a few slips (two swapped letters count as two), or the
 * only one that starts with the given word.
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
  // Two different letters in four make another word: "nope" is not "type".
  if (slips <= (plain.length < 5 ? 1 : plain.length < 9 ? 2 : 3)) return nearest;
  const begun = plain.length < 3 ? [] : known.filter((one) => one.startsWith(plain));
  return begun.length === 1 ? begun[0] : undefined;
}
