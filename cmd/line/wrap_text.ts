/**
 * Wrapping text to a width.
 *
 * @module
 */

/**
 * Breaks a text into lines of at most `width` characters. Lines break between words; a word longer
 * than a line gets its own line. Text in backquotes counts as one word.
 *
 * @param indent Prefix of every line but the first; counts towards the width.
 * @param first Characters of the first line that are already taken.
 */
export function wrapped(text: string, width: number, indent = "", first = 0): string {
  const words = text.match(/(?:`[^`\n]*`|[^\s`]|`)+/g) ?? [];
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    const room = width - (lines.length === 0 ? first : indent.length);
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  if (line !== "") lines.push(line);
  return lines.join(`\n${indent}`);
}

/** Wraps each paragraph separately. An indented paragraph is kept as it is. */
export function paragraphs(text: string, width: number): string {
  return text.split("\n").map((line) => /^\s|^$/.test(line) ? line : wrapped(line, width))
    .join("\n");
}
