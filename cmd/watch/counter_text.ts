/**
 * The counters that a backend has of its own, for people.
 *
 * @module
 */

import type { CounterReading, CounterRow } from "../../disk/counters.ts";
import { formatSize } from "../../disk/size.ts";
import { countText, type Row, timeText } from "./rows.ts";

/** Most characters of a line of {@linkcode briefRows}, so that it fits into 80 columns. */
const BRIEF_CHARACTERS = 66;

/** Formats a value as its row says. */
export function counterText({ kind, unit }: CounterRow, value: number | null): string {
  if (value === null) return "-";
  if (kind === "ratio") return value.toFixed(2);
  if (kind === "age") return value === 0 ? "0s" : timeText(value * 1e6, 1);
  const isWhole = Number.isSafeInteger(value) && value >= 0;
  if (!isWhole) return countText(value);
  return unit === "bytes" ? formatSize(value) : `${value}`;
}

/** A label and a text. */
export type Labelled = readonly [label: string, text: string];

/** All counters. */
export function counterTexts({ rows, values }: CounterReading): Labelled[] {
  return rows.map((row) => [row.label, counterText(row, values[row.name])]);
}

/** Lines with labels, whose texts stand below each other. */
export function labelledLines(texts: readonly Labelled[]): string[] {
  const width = Math.max(...texts.map(([label]) => label.length));
  return texts.map(([label, text]) => `${`${label}:`.padEnd(width + 1)}  ${text}`);
}

/** All counters, as rows of a table. */
export function counterRows(reading: CounterReading): Row[] {
  return rowsOf(reading.name, labelledLines(counterTexts(reading)));
}

/**
 * The counters that have a brief name, as a row of a table; as several where that is too long. Ratios
 * of nothing are left out: most volumes have no cache.
 */
export function briefRows({ name, rows, values }: CounterReading): Row[] {
  const lines: string[] = [];
  for (const row of rows) {
    if (row.brief === undefined || values[row.name] === null) continue;
    const text = `${row.brief} ${counterText(row, values[row.name])}`;
    const longer = lines.length === 0 ? text : `${lines.at(-1)}, ${text}`;
    if (lines.length > 0 && longer.length <= BRIEF_CHARACTERS) lines[lines.length - 1] = longer;
    else lines.push(text);
  }
  return rowsOf(name, lines);
}

function rowsOf(name: string, lines: readonly string[]): Row[] {
  return lines.map((text, nth) => ({ device: nth === 0 ? ` ${name}` : "", text }));
}
