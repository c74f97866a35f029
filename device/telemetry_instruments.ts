/**
 * The OpenTelemetry instruments of a device. They are read at each export.
 *
 * @module
 */

import { latencyBetween, notBelow } from "../queue/intervals.ts";
import type { Instrument, Meter, Observe } from "../queue/meter.ts";
import { type LatencyStats, OP_CLASSES, type Stats } from "../queue/stats.ts";
import { diskInFlight } from "./in_flight.ts";
import type { DeviceStats } from "./info.ts";

/** Counters by their `ublk.operation` attribute. */
const REQUESTS = {
  read: "reads",
  write: "writes",
  flush: "flushes",
  discard: "discards",
  write_zeroes: "writeZeroes",
  other: "others",
} as const satisfies Record<string, keyof Stats>;
const BYTES = {
  read: "bytesRead",
  write: "bytesWritten",
  discard: "bytesDiscarded",
  write_zeroes: "bytesZeroed",
} as const satisfies Record<string, keyof Stats>;
const QUANTILES: readonly [string, (latency: LatencyStats) => number][] = [
  ["0.5", ({ p50Us }) => p50Us],
  ["0.9", ({ p90Us }) => p90Us],
  ["0.99", ({ p99Us }) => p99Us],
  ["0.999", ({ p999Us }) => p999Us],
];

/** The part of a device that is read at each export. */
export interface Observed {
  /** The N of `/dev/ublkbN`. */
  readonly id: number;
  /** Its counters. */
  stats(): DeviceStats;
}

/** Observes a device with a meter until disposed of. */
export function observeDevice(meter: Meter, device: Observed): Disposable {
  const instruments = makeInstruments(meter);
  const all = Object.values(instruments);
  let last = device.stats().total;
  const observe: Observe = (result) => {
    const attributes = { "ublk.device": `ublkb${device.id}` };
    const take = (instrument: Instrument, value: number, more?: Record<string, string>) =>
      result.observe(instrument, value, { ...attributes, ...more });
    const total = notBelow(last, device.stats().total);
    for (const [operation, name] of Object.entries(REQUESTS)) {
      take(instruments.requests, total[name], { "ublk.operation": operation });
    }
    for (const [operation, name] of Object.entries(BYTES)) {
      take(instruments.bytes, total[name], { "ublk.operation": operation });
    }
    take(instruments.errors, total.errors);
    take(instruments.timeouts, total.timeouts);
    const inFlight = diskInFlight(device.id);
    if (inFlight !== undefined) {
      take(instruments.inFlight, inFlight.reads, { "ublk.operation": "read" });
      take(instruments.inFlight, inFlight.writes, { "ublk.operation": "write" });
    }
    for (const op of OP_CLASSES) {
      const latency = latencyBetween(last.latency[op], total.latency[op]);
      if (latency.count === 0) continue;
      for (const [quantile, us] of QUANTILES) {
        const more = { "ublk.operation": op, quantile };
        take(instruments.duration, us(latency) / 1e6, more);
      }
    }
    last = total;
  };
  meter.addBatchObservableCallback(observe, all);
  return { [Symbol.dispose]: () => meter.removeBatchObservableCallback(observe, all) };
}

function makeInstruments(meter: Meter) {
  return {
    requests: meter.createObservableCounter("ublk.requests", {
      unit: "{request}",
      description: "Requests answered without an error.",
    }),
    bytes: meter.createObservableCounter("ublk.io", {
      unit: "By",
      description: "Bytes of those requests.",
    }),
    errors: meter.createObservableCounter("ublk.errors", {
      unit: "{request}",
      description: "Requests answered with an errno.",
    }),
    timeouts: meter.createObservableCounter("ublk.timeouts", {
      unit: "{request}",
      description: "Requests whose deadline passed.",
    }),
    inFlight: meter.createObservableUpDownCounter("ublk.requests.inflight", {
      unit: "{request}",
      description: "Requests that the kernel waits for; reads, and all others as writes.",
    }),
    // OpenTelemetry has no observable histogram.
    duration: meter.createObservableGauge("ublk.request.duration", {
      unit: "s",
      description: "Latency of requests since the last export, by quantile.",
    }),
  };
}
