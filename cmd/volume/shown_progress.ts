/**
 * The progress of commands that take long, on a terminal.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { isTerminal, writeError } from "../program/print.ts";

/** Time between two lines of progress, in milliseconds. */
const PROGRESS_MS = 1000;

/** Shows now and then how much is done, if there is a terminal. */
export function shownParts(
  quiet: boolean,
  words: (total: number) => string,
  hasTerminal = isTerminal(),
): (done: number, total: number) => void {
  if (quiet || !hasTerminal) return () => {};
  let shownMs = performance.now();
  return (done, total) => {
    if (performance.now() - shownMs < PROGRESS_MS || total === 0) return;
    shownMs = performance.now();
    writeError(`${Math.floor(done / total * 100)} % of ${words(total)}`);
  };
}

/** The same for bytes. */
export function shownBytes(
  quiet: boolean,
  hasTerminal = isTerminal(),
): (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void {
  const show = shownParts(quiet, formatSize, hasTerminal);
  return ({ doneBytes, totalBytes }) => show(doneBytes, totalBytes);
}
