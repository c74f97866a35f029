/**
 * An excerpt of the file that an error is about, shown below the error: the line of the file, and a
 * mark where the mistake begins.
 *
 * @module
 */

import { printable } from "../../uapi/printable.ts";

/** Characters shown before the mark, and from the mark on. */
const BEFORE = 50;
const AFTER = 30;

/** The cause of an error that is about a position in a file. */
export class Excerpt extends Error {
  readonly #lines: readonly string[];

  /**
   * Creates an excerpt.
   *
   * @param text The whole file.
   * @param line Line number, from 1.
   * @param column Column number, from 1.
   */
  constructor(text: string, line: number, column: number) {
    super("see the file");
    const whole = text.split("\n")[line - 1]?.replace(/\r$/, "") ?? "";
    const start = Math.max(0, column - 1 - BEFORE);
    // Measure the text as it is shown: escaped characters from the file are wider.
    const before = (start > 0 ? "…" : "") + printable(whole.slice(start, column - 1));
    const end = column - 1 + AFTER;
    const rest = printable(whole.slice(column - 1, end)) + (end < whole.length ? "…" : "");
    const gutter = `${line}`;
    this.#lines = [
      `  ${gutter} | ${before}${rest}`,
      `  ${" ".repeat(gutter.length)} | ${" ".repeat(before.length)}^`,
    ];
  }
  /**
   * The lines to show for a cause; none for any other value. Safe for a Proxy, whose traps are not
   * called.
   */
  static linesOf(cause: unknown): readonly string[] {
    return typeof cause === "object" && cause !== null && #lines in cause ? cause.#lines : [];
  }
}
