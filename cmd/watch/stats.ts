/**
 * `ublk stats`: the totals of servers since they started.
 *
 * @module
 */

import { formatSize } from "../../disk/size.ts";
import { blockPath } from "../../device/node.ts";
import {
  latencyBucketUs,
  type LatencyStats,
  OP_CLASSES,
  type OpClass,
  type Stats,
} from "../../queue/stats.ts";
import type { CounterReading } from "../../disk/counters.ts";
import type { STATS_FLAGS } from "../line/command_flags.ts";
import type { Values } from "../line/flags.ts";
import { counterRows } from "./counter_text.ts";
import { opTotals } from "./rates.ts";
import { type Column, type Row, tableLines, timeText } from "./rows.ts";
import { writeJson, writeLines } from "../program/print.ts";
import { type ErrorLog, EXIT_FAILURE, EXIT_OK } from "../program/run.ts";
import { missingOf, type Sample, sampleDevices } from "./samples.ts";

/** Time limit for a server's answer, in milliseconds: it may be busy. */
const ANSWER_MS = 10_000;

/** `ublk stats`. */
export async function stats(
  { id: ids, queues, json }: Values<typeof STATS_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  const samples = await sampleDevices(ids, ANSWER_MS);
  const missing = missingOf(ids, samples);
  for (const { message } of missing) log.error(message);
  if (json) await writeJson(samples.map(sampleJson), 2);
  else await writeLines(statsLines(samples, queues));
  return missing.length === 0 ? EXIT_OK : EXIT_FAILURE;
}

/** A device in the format of `ublk stats --json`. */
export function sampleJson({ id, target, stats, reason, inFlight }: Sample): unknown {
  return {
    id,
    path: blockPath(id),
    target,
    pid: stats?.pid ?? null,
    reason,
    inFlight,
    logDropped: stats?.logDropped ?? null,
    total: stats === null ? null : countersJson(stats.total),
    queues: stats === null ? null : stats.queues.map(countersJson),
    backend: backendJson(stats?.backend),
  };
}

/** A backend's own counters, by their names. */
function backendJson(backend: CounterReading | undefined): unknown {
  return backend === undefined ? null : { name: backend.name, counters: backend.values };
}

function countersJson({ latency, ...counters }: Stats): unknown {
  const entries = OP_CLASSES.map((op) => [op, latencyJson(latency[op])]);
  return { ...counters, latency: Object.fromEntries(entries) };
}

/** The non-empty buckets, each with its upper bound in microseconds; null for the last. */
function latencyJson({ buckets, ...rest }: LatencyStats): unknown {
  const histogram = buckets.flatMap((count, bucket) => {
    const belowUs = latencyBucketUs(bucket);
    return count === 0 ? [] : [{ belowUs: belowUs === Infinity ? null : belowUs, count }];
  });
  return { ...rest, histogram };
}

const COLUMNS: readonly Column[] = [
  { heading: "DEVICE", width: 8, left: true },
  { heading: "OP", width: 5, left: true },
  { heading: "REQUESTS", width: 8 },
  { heading: "BYTES", width: 8 },
  { heading: "P50", width: 5 },
  { heading: "P99", width: 5 },
  { heading: "P99.9", width: 5 },
  { heading: "MAX", width: 5 },
  { heading: "ERRORS", width: 6 },
];

/** The output of `ublk stats`. */
export function statsLines(samples: readonly Sample[], withQueues: boolean): string[] {
  return tableLines(
    COLUMNS,
    samples.flatMap(({ id, stats, reason }): Row[] => {
      const device = `ublkb${id}`;
      if (stats === null) return [{ device, text: reason ?? "" }];
      const queues = withQueues ? stats.queues : [];
      return [
        ...requestRows(device, stats.total),
        ...queues.flatMap((queue, index) => requestRows(` queue ${index}`, queue)),
        ...(stats.backend === undefined ? [] : counterRows(stats.backend)),
      ];
    }),
  );
}

function requestRows(name: string, stats: Stats): Row[] {
  const shown = OP_CLASSES.filter((op) => op !== "other" || opTotals(stats, op).requests > 0);
  return shown.map((op, index) => [
    index === 0 ? name : "",
    ...opCells(stats, op),
    index === 0 ? `${stats.errors}` : "",
  ]);
}

function opCells(stats: Stats, op: OpClass): string[] {
  const { requests, bytes } = opTotals(stats, op);
  const { count, p50Us, p99Us, p999Us, maxUs } = stats.latency[op];
  const times = [p50Us, p99Us, p999Us, maxUs].map((us) => timeText(us, count));
  return [op, `${requests}`, bytes === 0 ? "0" : formatSize(bytes), ...times];
}
