/**
 * Summarises a benchmark's samples: the median with its spread, ratios of neighbours, a table.
 *
 * @module
 */

/** The summary of several samples. */
export interface Spread {
  /** The middle sample, or the mean of the middle two. */
  readonly median: number;
  /** The smallest sample. */
  readonly min: number;
  /** The largest sample. */
  readonly max: number;
  /** The number of samples. */
  readonly count: number;
}

/** The spread of samples. Throws {@link RangeError} if there are none, or one is not finite. */
export function spread(samples: readonly number[]): Spread {
  if (samples.length === 0) throw new RangeError("no samples");
  if (!samples.every(Number.isFinite)) throw new RangeError(`not finite: ${samples}`);
  const sorted = [...samples].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1)!, count: sorted.length };
}

/**
 * The ratios of neighbouring samples, taken in turn. A drift during a run (the host's load, a cache
 * that fills) affects both samples of a pair.
 */
export function pairwiseRatios(ours: readonly number[], theirs: readonly number[]): number[] {
  if (ours.length !== theirs.length) {
    throw new RangeError(`${ours.length} samples against ${theirs.length}`);
  }
  return ours.map((value, index) => value / theirs[index]);
}

/** Formats `median (min–max)`, or only the median if all samples agree to the last digit shown. */
export function formatSpread({ median, min, max }: Spread, digits = 2): string {
  const [middle, low, high] = [median, min, max].map((value) => value.toFixed(digits));
  return low === high ? middle : `${middle} (${low}–${high})`;
}

/** Formats a Markdown table with aligned columns, also readable as plain text. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, 3, ...rows.map((row) => row[column].length))
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |`;
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)]
    .join("\n");
}
