/**
 * The place in a file that an error is about, shown below its line: the line of the file, and a mark
 * where the mistake begins.
 *
 * @module
 */

import { printable } from "../../uapi/printable.ts";

/** How many characters are shown before the mark, and how many from there on. */
const BEFORE = 50;
const AFTER = 30;

/** What an error has as its cause, if it is about a place in a file. */
export class Excerpt extends Error {
  readonly #lines: readonly string[];

  /**
   * The place.
   *
   * @param text The whole file.
   * @param line Counted from 1.
   * @param column Counted from 1.
   */
  constructor(text: string, line: number, column: number) {
    super("see the file");
    const whole = text.split("\n")[line - 1]?.replace(/\r$/, "") ?? "";
    const start = Math.max(0, column - 1 - BEFORE);
    // As it will be shown: what others wrote may have characters that are longer there.
    const before = (start > 0 ? "…" : "") + printable(whole.slice(start, column - 1));
    const end = column - 1 + AFTER;
    const rest = printable(whole.slice(column - 1, end)) + (end < whole.length ? "…" : "");
    const gutter = `${line}`;
    this.#lines = [
      `  ${gutter} | ${before}${rest}`,
      `  ${" ".repeat(gutter.length)} | ${" ".repeat(before.length)}^`,
    ];
  }
  /** The lines that are shown of a cause; none of another. A Proxy is not asked what it is. */
  static linesOf(cause: unknown): readonly string[] {
    return typeof cause === "object" && cause !== null && #lines in cause ? cause.#lines : [];
  }
}
