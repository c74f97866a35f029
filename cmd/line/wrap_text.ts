/**
 * Text in lines of a width.
 *
 * @module
 */

/**
 * A text in lines of so many characters at most. A line ends between two words; a word that is longer
 * than a line has one of its own. What stands in backquotes is one word.
 *
 * @param indent Put before each line but the first, and part of the width.
 * @param first How much of the first line is taken already.
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

/** Paragraphs, each wrapped by itself; one that is indented is laid out already. */
export function paragraphs(text: string, width: number): string {
  return text.split("\n").map((line) => /^\s|^$/.test(line) ? line : wrapped(line, width))
    .join("\n");
}
