/** The word among `possibleWords`, of which there is one at least, that is most like another. */
export function closestString(
  givenWord: string,
  possibleWords: readonly string[],
  options?: { caseSensitive?: boolean },
): string;
/** How many characters must be put in, taken out or changed to make one word of the other. */
export function levenshteinDistance(str1: string, str2: string): number;
