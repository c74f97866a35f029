/**
 * A message that bypasses the log, because the thread that drains the log is stuck.
 *
 * @module
 */

import { printable } from "../uapi/printable.ts";

/** Writes one line to stderr. */
export function lastWords(message: string): void {
  console.error(printable(`error: ${message}`));
}
