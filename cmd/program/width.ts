/**
 * How wide a text may be where it is shown.
 *
 * @module
 */

import { readSmallFile } from "../../uring/libc.ts";
import { isTerminal, terminalColumns } from "./print.ts";

/** Where nothing says how wide it may be. */
const DEFAULT_COLUMNS = 80;
/** What is too narrow for a help is taken for no answer. */
const LEAST_COLUMNS = 40;
/** A line that is longer is hard to read, whatever the terminal has. */
const MOST_COLUMNS = 100;

/** For a text: what `COLUMNS` says, or the terminal, within reason; else 80. */
export function textWidth(): number {
  const columns = columnsAsked() ?? (isTerminal() ? terminalColumns() : undefined);
  if (columns === undefined || columns < LEAST_COLUMNS) return DEFAULT_COLUMNS;
  return Math.min(columns, MOST_COLUMNS);
}

/** For a table: that of the terminal; without end elsewhere, where another program reads it. */
export function tableWidth(): number {
  return isTerminal() ? columnsAsked() ?? terminalColumns() ?? Infinity : Infinity;
}

function columnsAsked(): number | undefined {
  try {
    // By libc, since the programs are not given `--allow-env`. A help needs no permission at all.
    const text = /(?:^|\0)COLUMNS=(\d{1,4})(?:\0|$)/.exec(readSmallFile("/proc/self/environ"))?.[1];
    return text === undefined || Number(text) === 0 ? undefined : Number(text);
  } catch {
    return undefined;
  }
}
