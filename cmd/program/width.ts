/**
 * The width available for text.
 *
 * @module
 */

import { environmentVariable } from "../../uring/libc.ts";
import { isTerminal, terminalColumns } from "./print.ts";

/** The width if none is known. */
const DEFAULT_COLUMNS = 80;
/** The smallest plausible width for help; a smaller answer is ignored. */
const LEAST_COLUMNS = 40;
/** The greatest width for text: longer lines are hard to read on any terminal. */
const MOST_COLUMNS = 100;

/** The width for text: `COLUMNS` or the terminal's width, within reason; else 80. */
export function textWidth(): number {
  const columns = columnsAsked() ?? (isTerminal() ? terminalColumns() : undefined);
  if (columns === undefined || columns < LEAST_COLUMNS) return DEFAULT_COLUMNS;
  return Math.min(columns, MOST_COLUMNS);
}

/**
 * The width for tables: the terminal's; unlimited elsewhere, where another program reads the table.
 */
export function tableWidth(): number {
  return isTerminal() ? columnsAsked() ?? terminalColumns() ?? Infinity : Infinity;
}

function columnsAsked(): number | undefined {
  try {
    // Through libc, because the programs do not get `--allow-env`. Help needs no permission at all.
    const text = environmentVariable("COLUMNS") ?? "";
    return /^\d{1,4}$/.test(text) ? Number(text) || undefined : undefined;
  } catch {
    return undefined;
  }
}
