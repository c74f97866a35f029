/**
 * Where the time of a step went: its slowest files and tests.
 *
 * @module
 */

/** One test's time. */
export interface TestTime {
  /** Its file, or its kernel and file. */
  readonly file: string;
  readonly name: string;
  readonly seconds: number;
}

const FILES = 8;
const TESTS = 10;
/** Nobody wonders about less. */
const LEAST_SECONDS = 1;

/** The slowest files and tests as lines, or nothing where all were quick. */
export function formatSlowest(times: readonly TestTime[]): string[] {
  const files = new Map<string, number>();
  for (const { file, seconds } of times) files.set(file, (files.get(file) ?? 0) + seconds);
  const rows = (entries: [name: string, seconds: number][], most: number) =>
    entries
      .filter(([, seconds]) => seconds >= LEAST_SECONDS)
      .sort((a, b) => b[1] - a[1])
      .slice(0, most)
      .map(([name, seconds]) => `${seconds.toFixed(1).padStart(8)} s  ${name}`);
  return [
    ...rows([...files], FILES),
    ...rows(times.map(({ file, name, seconds }) => [`${file}: ${name}`, seconds]), TESTS),
  ];
}
