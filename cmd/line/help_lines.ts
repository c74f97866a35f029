/**
 * Line breaks for help texts made from tables.
 *
 * @module
 */

/** Width of a flag's text, which starts in column 26 of the help. */
const WIDTH = 72;

/** Breaks a text into lines of the help. */
export function helpLines(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join("\n");
}
