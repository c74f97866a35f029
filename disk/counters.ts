/**
 * Counters that a backend keeps itself, besides those of its requests: a table that says what they
 * are, and memory with their values. Whoever serves the disk reads them at any time, from another
 * thread, and shows them without knowing what they mean: in `ublk stats`, `ublk top` and metrics.
 *
 * Every value is a double with one writer, so nobody waits: see `queue/stats.ts`.
 *
 * @module
 */

import { monotonicUs } from "../uring/libc.ts";

/** One counter. */
export interface CounterRow {
  /** The name in JSON, with its unit if it has one: `journalBytes`. Metrics have `journal_bytes`. */
  readonly name: string;
  /** The name for people: `journal`. */
  readonly label: string;
  /** One sentence. */
  readonly help: string;
  /**
   * - `counter` only grows.
   * - `gauge` goes up and down.
   * - `age`: memory has the time of an event, in microseconds of `CLOCK_MONOTONIC`, or 0 for none;
   *   the value is the number of seconds since then, or 0.
   * - `ratio` has no memory: the value is the sum of the counters {@linkcode of}, divided by the sum
   *   of the counters {@linkcode per}.
   */
  readonly kind: "counter" | "gauge" | "age" | "ratio";
  /**
   * The unit of a counter or a gauge.
   *
   * @default A number of things
   */
  readonly unit?: "bytes";
  /** Names of the counters that a ratio divides. */
  readonly of?: readonly string[];
  /** Names of the counters that a ratio divides by. */
  readonly per?: readonly string[];
  /**
   * `ublk top` shows it, under this name.
   *
   * @default It is not shown there
   */
  readonly brief?: string;
}

/** The counters of a backend. They can be sent to another thread. */
export interface BackendCounters {
  /** The kind of backend, in lower case: `volume`. Names of metrics begin with `ublk_volume_`. */
  readonly name: string;
  /** The things that are counted. */
  readonly rows: readonly CounterRow[];
  /** A double for each row, in their order; those of ratios are not used. */
  readonly memory: SharedArrayBuffer;
}

/** The values of a backend's counters at one time. */
export interface CounterReading {
  /** The kind of backend. */
  readonly name: string;
  /** The things that are counted. */
  readonly rows: readonly CounterRow[];
  /** The value of each row by its name; null for a ratio of which nothing is counted yet. */
  readonly values: Readonly<Record<string, number | null>>;
}

/** Reads the counters of a backend. Any thread may. */
export function readCounters(
  { name, rows, memory }: BackendCounters,
  nowUs: number = monotonicUs(),
): CounterReading {
  const doubles = new Float64Array(memory).slice();
  const values: Record<string, number | null> = {};
  const sum = (names: readonly string[]) =>
    names.reduce((total, one) => total + (values[one] ?? 0), 0);
  rows.forEach(({ name, kind, of = [], per = [] }, nth) => {
    const held = doubles[nth];
    if (kind === "ratio") values[name] = sum(per) === 0 ? null : sum(of) / sum(per);
    else if (kind === "age") values[name] = held === 0 ? 0 : Math.max(0, nowUs - held) / 1e6;
    else values[name] = held;
  });
  return { name, rows, values };
}

/**
 * Looks for a fault in the counters of a backend.
 *
 * @returns The fault in words; undefined if there is none.
 */
export function countersFault(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return "`counters` is not an object";
  const { name, rows, memory } = value as Partial<BackendCounters>;
  if (typeof name !== "string" || !/^[a-z]+$/.test(name)) {
    return "`counters.name` is not a word in lower case";
  }
  if (!Array.isArray(rows)) return "`counters.rows` is not an array";
  if (!(memory instanceof SharedArrayBuffer) || memory.byteLength < rows.length * 8) {
    return `\`counters.memory\` is no SharedArrayBuffer with a double for each of its rows`;
  }
  const seen = new Set<string>();
  for (const row of rows as readonly Partial<CounterRow>[]) {
    const fault = rowFault(row, seen);
    if (fault !== undefined) return `\`counters.rows\`: ${JSON.stringify(row?.name)} ${fault}`;
    seen.add(row.name!);
  }
  return undefined;
}

const KINDS = ["counter", "gauge", "age", "ratio"];

/** @param seen The names of the rows above. */
function rowFault(row: Partial<CounterRow> | null, seen: Set<string>): string | undefined {
  const { name, label, help, kind, of = [], per = [] } = row ?? {};
  if (typeof name !== "string" || !/^[a-z][A-Za-z0-9]*$/.test(name)) return "is no name";
  if (seen.has(name)) return "is there twice";
  if (typeof label !== "string" || typeof help !== "string") return "has no label or no help";
  if (!KINDS.includes(kind!)) return `is none of ${KINDS.join(", ")}`;
  const divides = [...of, ...per];
  if ((kind === "ratio") !== (of.length > 0 && per.length > 0)) return "has no `of` and `per`";
  const missing = divides.find((one) => !seen.has(one));
  return missing === undefined ? undefined : `divides ${missing}, which is not above it`;
}
