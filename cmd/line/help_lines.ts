/**
 * Help texts that are made from tables, in lines.
 *
 * @module
 */

/** Columns of a flag's text, which begins in column 26 of the help. */
const WIDTH = 72;

/** Words in lines of the help. */
export function helpLines(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join("\n");
}
