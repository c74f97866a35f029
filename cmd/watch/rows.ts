/**
 * Human-readable numbers: requests, bytes and times in a few characters, and tables whose columns
 * keep their positions between updates.
 *
 * @module
 */

import { printable } from "../../uapi/printable.ts";

/** Formats a number in at most six characters: `0`, `0.3`, `812`, `12.3k`, `1.2M`. */
export function countText(value: number): string {
  if (value === 0) return "0";
  if (value < 99.95) return Number.isInteger(value) ? `${value}` : value.toFixed(1);
  if (value < 9999.5) return value.toFixed(0);
  for (const [unit, letter] of [[1e3, "k"], [1e6, "M"], [1e9, "G"], [1e12, "T"]] as const) {
    const scaled = value / unit;
    if (scaled < 99.95) return `${scaled.toFixed(1)}${letter}`;
    if (scaled < 999.5) return `${scaled.toFixed(0)}${letter}`;
  }
  return value.toExponential(0);
}

/** Formats microseconds as `80µs`, `1.2ms`, `34s`; `-` if nothing was measured. */
export function timeText(us: number, count: number): string {
  if (count === 0) return "-";
  for (const [unit, name] of [[1, "µs"], [1e3, "ms"]] as const) {
    const scaled = us / unit;
    if (scaled < 9.95) return `${Number(scaled.toFixed(1))}${name}`;
    if (scaled < 999.5) return `${scaled.toFixed(0)}${name}`;
  }
  const seconds = us / 1e6;
  return seconds < 9.95 ? `${Number(seconds.toFixed(1))}s` : `${seconds.toFixed(0)}s`;
}

/** A column of a table: its heading, and its width in characters unless a cell needs more. */
export interface Column {
  /** The heading. */
  readonly heading: string;
  /** The minimum width. */
  readonly width: number;
  /** Aligns its cells to the left. Numbers are aligned to the right. */
  readonly left?: true;
}

/** One row: its cells, or a device and a text across the columns. */
export type Row = readonly string[] | { readonly device: string; readonly text: string };

/** The lines of a table, headings first. */
export function tableLines(columns: readonly Column[], rows: readonly Row[]): string[] {
  // Escape before measuring, because an escaped cell is wider.
  const safe = rows.map((row): Row =>
    "text" in row
      ? { device: printable(row.device), text: printable(row.text) }
      : row.map(printable)
  );
  const cells = safe.filter((row): row is readonly string[] => Array.isArray(row));
  const widths = columns.map(({ heading, width }, at) =>
    Math.max(width, heading.length, ...cells.map((row) => row[at].length))
  );
  const line = (texts: readonly string[]) =>
    texts.map((text, at) => columns[at].left ? text.padEnd(widths[at]) : text.padStart(widths[at]))
      .join("  ").trimEnd();
  return [
    line(columns.map(({ heading }) => heading)),
    ...safe.map((row) =>
      "text" in row ? `${row.device.padEnd(widths[0])}  ${row.text}` : line(row)
    ),
  ];
}
