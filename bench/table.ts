/**
 * What a benchmark's samples come to: a median with its spread, ratios of neighbours, a table.
 *
 * @module
 */

/** Several samples of one thing. */
export interface Spread {
  /** The middle one, or the mean of the middle two. */
  readonly median: number;
  /** The smallest. */
  readonly min: number;
  /** The largest. */
  readonly max: number;
  /** How many there are. */
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
 * The ratios of samples that were taken in turn, each to its neighbour: what drifts over a run (the
 * host's load, a cache that fills) weighs on both of a pair.
 */
export function pairwiseRatios(ours: readonly number[], theirs: readonly number[]): number[] {
  if (ours.length !== theirs.length) {
    throw new RangeError(`${ours.length} samples against ${theirs.length}`);
  }
  return ours.map((value, index) => value / theirs[index]);
}

/** `median (min–max)`, or the bare number where all samples agree to the last digit shown. */
export function formatSpread({ median, min, max }: Spread, digits = 2): string {
  const [middle, low, high] = [median, min, max].map((value) => value.toFixed(digits));
  return low === high ? middle : `${middle} (${low}–${high})`;
}

/** A table in Markdown, its columns aligned so that it reads well as plain text too. */
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
