/**
 * The output of `ublk top`, as lines of text.
 *
 * @module
 */

import { queueInFlight } from "../../device/in_flight.ts";
import type { InFlight } from "../../device/in_flight.ts";
import type { CounterReading } from "../../disk/counters.ts";
import { OP_CLASSES, type OpClass, type Stats } from "../../queue/stats.ts";
import { briefRows } from "./counter_text.ts";
import { type Rates, ratesBetween, secondsBetween } from "./rates.ts";
import { type Column, countText, type Row, tableLines, timeText } from "./rows.ts";
import type { Sample } from "./samples.ts";
import type { ServerStats } from "../devices/socket.ts";

/** The activity of a device between two samples. */
export interface Interval {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** The reason why its server does not answer; null if it does. */
  readonly reason: string | null;
  /** Its own rates and its queues'; null if there is no earlier sample. */
  readonly rates: { readonly total: Rates; readonly queues: readonly Rates[] } | null;
  /** Total errors since the server started: of the device, and of each queue. */
  readonly errors: { readonly total: number; readonly queues: readonly number[] };
  /** Requests in flight in the kernel. */
  readonly inFlight: InFlight | null;
  /** The counters that the backend has of its own; null if it has none. */
  readonly backend: CounterReading | null;
}

/** Compares each device with its earlier sample. */
export function intervalsBetween(earlier: readonly Sample[], later: readonly Sample[]): Interval[] {
  const before = new Map(earlier.map((sample) => [sample.id, sample]));
  return later.map(({ id, reason, stats, inFlight }) => ({
    id,
    reason,
    inFlight,
    backend: stats?.backend ?? null,
    rates: ratesOf(before.get(id)?.stats ?? null, stats),
    errors: {
      total: stats?.total.errors ?? 0,
      queues: stats?.queues.map(({ errors }) => errors) ?? [],
    },
  }));
}

function ratesOf(earlier: ServerStats | null, later: ServerStats | null): Interval["rates"] {
  // A different number of queues means a different device with the same number.
  if (earlier?.queues.length !== later?.queues.length) return null;
  if (earlier === null || later === null) return null;
  const seconds = secondsBetween(earlier, later);
  if (seconds === undefined) return null;
  const rates = (before: Stats, after: Stats) => ratesBetween(before, after, seconds);
  return {
    total: rates(earlier.total, later.total),
    queues: later.queues.map((queue, index) => rates(earlier.queues[index], queue)),
  };
}

const COLUMNS: readonly Column[] = [
  { heading: "DEVICE", width: 10, left: true },
  { heading: "OP", width: 5, left: true },
  { heading: "IOPS", width: 6 },
  { heading: "MB/s", width: 6 },
  { heading: "P50", width: 5 },
  { heading: "P99", width: 5 },
  { heading: "P99.9", width: 5 },
  { heading: "DEPTH", width: 5 },
  { heading: "ERRORS", width: 8 },
];

/**
 * The lines of the table. With `depthOf` there are also lines per queue, with its requests in
 * flight.
 */
export function topLines(
  looks: readonly Interval[],
  depthOf?: (id: number, queue: number) => number | undefined,
): string[] {
  return tableLines(COLUMNS, looks.flatMap((look) => deviceRows(look, depthOf)));
}

/** The source of queue depths for {@linkcode topLines} on this machine. */
export const depthFromKernel: (id: number, queue: number) => number | undefined = queueInFlight;

function deviceRows(look: Interval, depthOf?: (id: number, queue: number) => number | undefined) {
  const { id, reason, rates, errors, inFlight, backend } = look;
  const device = `ublkb${id}`;
  if (reason !== null) return [{ device, text: reason }];
  if (rates === null) return [{ device, text: "…" }];
  const rows: Row[] = rateRows(device, rates.total, errors.total, {
    read: inFlight?.reads,
    write: inFlight?.writes,
  });
  if (backend !== null) rows.push(...briefRows(backend));
  if (depthOf === undefined) return rows;
  for (const [queue, each] of rates.queues.entries()) {
    // For a queue, the kernel does not distinguish reads from writes.
    const depth = { read: depthOf(id, queue) };
    rows.push(...rateRows(` queue ${queue}`, each, errors.queues[queue], depth));
  }
  return rows;
}

function rateRows(
  name: string,
  { ops, errors }: Rates,
  errorsSoFar: number,
  depth: Partial<Record<OpClass, number>>,
): Row[] {
  const shown = OP_CLASSES.filter((op) => op !== "other" || ops[op].requests > 0);
  return shown.map((op, index) => {
    const { requests, bytes, latency } = ops[op];
    const { count, p50Us, p99Us, p999Us } = latency;
    return [
      index === 0 ? name : "",
      op,
      countText(requests),
      countText(bytes / 1e6),
      ...[p50Us, p99Us, p999Us].map((us) => timeText(us, count)),
      depth[op] === undefined ? "-" : `${depth[op]}`,
      index > 0 ? "" : errors === 0 ? `${errorsSoFar}` : `${errorsSoFar} +${errors}`,
    ];
  });
}
