/**
 * The counters of devices as Prometheus metrics. The counters are read only when somebody scrapes.
 *
 * @module
 */

import { Counter, Gauge, type Histogram, type Metric, Registry } from "prom-client";
import config from "../deno.json" with { type: "json" };
import { diskInFlight } from "../device/in_flight.ts";
import type { ServedDevice } from "../device/serve.ts";
import type { DeviceStats } from "../device/info.ts";
import { notBelow } from "../queue/intervals.ts";
import { LATENCY_BUCKETS, OP_CLASSES, type OpClass, type Stats } from "../queue/stats.ts";

/** The part of a device that metrics need. */
export type Metered = Pick<ServedDevice, "id" | "info" | "stats">;

/** The state of a device at a scrape. */
interface Reading {
  readonly device: string;
  readonly id: number;
  readonly info: ReturnType<Metered["info"]>;
  readonly stats: DeviceStats;
}

/** Counters of requests, by the label `op`. */
const REQUESTS = {
  read: "reads",
  write: "writes",
  flush: "flushes",
  discard: "discards",
  write_zeroes: "writeZeroes",
  other: "others",
} as const;
const BYTES = {
  read: "bytesRead",
  write: "bytesWritten",
  discard: "bytesDiscarded",
  write_zeroes: "bytesZeroed",
} as const;

/** Metrics of a set of devices, which may differ at each scrape. */
export class Exposition {
  readonly #registry = new Registry();
  readonly #devices: () => Iterable<Metered>;
  /** The last counters of each device, so that no counter decreases: see {@linkcode notBelow}. */
  readonly #last = new WeakMap<Metered, DeviceStats>();
  #readings: readonly Reading[] = [];

  /** @param devices Called at each scrape. */
  constructor(devices: () => Iterable<Metered>) {
    this.#devices = devices;
    this.#deviceMetrics();
    this.#queueMetrics();
    this.#info();
  }

  /** The content type of {@linkcode text}, for HTTP. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Renders the current metrics in Prometheus's text format. */
  async text(): Promise<string> {
    this.#readings = Array.from(this.#devices(), (device) => this.#read(device));
    for (const { stats } of this.#readings) this.#backendMetrics(stats.backend);
    // All metrics are collected before this call returns its Promise, from the same readings.
    return await this.#registry.metrics();
  }

  #read(device: Metered): Reading {
    const now = device.stats();
    const last = this.#last.get(device);
    const stats = last === undefined ? now : {
      ...now,
      total: notBelow(last.total, now.total),
      queues: now.queues.map((queue, index) =>
        index < last.queues.length ? notBelow(last.queues[index], queue) : queue
      ),
    };
    this.#last.set(device, stats);
    return { device: `ublkb${device.id}`, id: device.id, info: device.info(), stats };
  }

  #deviceMetrics(): void {
    const byOp = (names: Partial<Record<string, keyof Stats>>) => (reading: Reading) =>
      Object.entries(names).map(([op, name]) => ({
        labels: { op },
        value: reading.stats.total[name!] as number,
      }));
    const total = (name: "errors" | "timeouts" | "shared") => ({ stats }: Reading) => [
      { labels: {}, value: stats.total[name] },
    ];
    const one = (value: (reading: Reading) => number) => (reading: Reading) => [
      { labels: {}, value: value(reading) },
    ];
    const { counter, gauge } = this;
    counter("requests_total", "Requests answered without an error.", ["op"], byOp(REQUESTS));
    counter("bytes_total", "Bytes of those requests.", ["op"], byOp(BYTES));
    counter("errors_total", "Requests answered with an errno.", [], total("errors"));
    counter("timeouts_total", "Requests whose deadline passed.", [], total("timeouts"));
    counter(
      "shared_requests_total",
      "Requests whose data was in shared memory.",
      [],
      total("shared"),
    );
    counter(
      "log_dropped_total",
      "Log records dropped because nobody drained them in time.",
      [],
      one(({ stats }) => stats.logDropped),
    );
    this.#registry.registerMetric(this.#durations() as unknown as Metric);
    gauge(
      "inflight_requests",
      "Requests in flight in the kernel; all but reads count as writes.",
      ["op"],
      ({ id }) => {
        const inFlight = diskInFlight(id);
        return inFlight === undefined ? [] : [
          { labels: { op: "read" }, value: inFlight.reads },
          { labels: { op: "write" }, value: inFlight.writes },
        ];
      },
    );
    gauge("size_bytes", "Size of the disk.", [], one(({ info }) => info.size));
    gauge("queues", "Hardware queues.", [], one(({ info }) => info.queues));
    gauge(
      "queue_depth",
      "Maximum of requests in flight per queue.",
      [],
      one(({ info }) => info.depth),
    );
    gauge(
      "device_info",
      "Properties of the device; always 1.",
      ["path", "data_path", "recovery", "read_only"],
      ({ info }) => [{
        labels: {
          path: info.path,
          data_path: info.dataPath,
          recovery: info.recovery ?? "none",
          read_only: `${info.readOnly}`,
        },
        value: 1,
      }],
    );
  }

  #queueMetrics(): void {
    const each = (value: (queue: Stats) => number) => ({ stats }: Reading) =>
      stats.queues.map((queue, index) => ({
        labels: { queue: `${index}` },
        value: value(queue),
      }));
    const sum = (names: Record<string, keyof Stats>) => (queue: Stats) =>
      Object.values(names).reduce((total, name) => total + (queue[name] as number), 0);
    const { counter, gauge } = this;
    counter(
      "queue_requests_total",
      "Requests of a hardware queue answered without an error.",
      ["queue"],
      each(sum(REQUESTS)),
    );
    counter("queue_bytes_total", "Bytes of those requests.", ["queue"], each(sum(BYTES)));
    counter(
      "queue_errors_total",
      "Requests of a hardware queue answered with an errno.",
      ["queue"],
      each((queue) => queue.errors),
    );
    counter(
      "queue_batches_total",
      "Iterations of a thread's loop that found requests, counted for its first queue.",
      ["queue"],
      each((queue) => queue.batches),
    );
    gauge(
      "queue_held_requests",
      "Requests of a hardware queue that wait for a Promise of the backend.",
      ["queue"],
      each((queue) => queue.inFlight),
    );
  }

  /** Registers the counters that a kind of backend has of its own, once there is one. */
  #backendMetrics(backend: DeviceStats["backend"]): void {
    for (const { name, kind, help } of backend?.rows ?? []) {
      // A ratio is a query's.
      if (kind === "ratio") continue;
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      const metric = `${backend!.name}_${snake}${kind === "counter" ? "_total" : ""}`;
      if (this.#registry.getSingleMetric(`ublk_${metric}`) !== undefined) continue;
      const register = kind === "counter" ? this.counter : this.gauge;
      register(metric, help, [], ({ stats }) => {
        const value = stats.backend?.name === backend!.name ? stats.backend.values[name] : null;
        // The library throws at a counter that decreases, and would answer nothing.
        return typeof value === "number" && value >= 0 ? [{ labels: {}, value }] : [];
      });
    }
  }

  #info(): void {
    const build = new Gauge({
      name: "ublk_build_info",
      help: "Version of the server; always 1.",
      labelNames: ["version"],
      registers: [this.#registry],
    });
    build.set({ version: config.version }, 1);
  }

  /** Registers a counter whose labelled values are read from each device. */
  readonly counter = (
    name: string,
    help: string,
    labelNames: readonly string[],
    read: ReadValues,
  ): void => {
    const readings = () => this.#readings;
    new Counter({
      ...this.#config(name, help, labelNames),
      collect() {
        this.reset();
        for (const reading of readings()) {
          for (const { labels, value } of read(reading)) {
            this.inc({ ...labels, device: reading.device }, value);
          }
        }
      },
    });
  };

  /** Registers a gauge, in the same way. */
  readonly gauge = (
    name: string,
    help: string,
    labelNames: readonly string[],
    read: ReadValues,
  ): void => {
    const readings = () => this.#readings;
    new Gauge({
      ...this.#config(name, help, labelNames),
      collect() {
        this.reset();
        for (const reading of readings()) {
          for (const { labels, value } of read(reading)) {
            this.set({ ...labels, device: reading.device }, value);
          }
        }
      },
    });
  };

  #config(name: string, help: string, labelNames: readonly string[]) {
    return {
      name: `ublk_${name}`,
      help,
      labelNames: ["device", ...labelNames],
      registers: [this.#registry],
    };
  }

  /**
   * The latency histogram. The library's `Histogram` counts observations itself, but these are counted
   * already. So this is a custom metric with the methods that the registry calls.
   */
  #durations(): Pick<Histogram, "get" | "reset"> & { readonly name: string } {
    const name = "ublk_request_duration_seconds";
    return {
      name,
      get: () =>
        Promise.resolve({
          name,
          help: "Duration of the measured requests.",
          type: "histogram" as never,
          aggregator: "sum",
          collect: () => {},
          values: this.#readings.flatMap(({ device, stats }) =>
            OP_CLASSES.flatMap((op) =>
              durationValues(name, { device, op }, stats.total.latency[op])
            )
          ),
        }),
      reset: () => {},
    };
  }
}

/** Reads the values of one metric from one device. */
type ReadValues = (
  reading: Reading,
) => readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];

/** Buckets per octave. The last of each octave ends at a power of two microseconds. */
const BUCKETS_PER_OCTAVE = 4;

/** The values of one histogram: a bucket per power of two from 1 µs to a minute, sum and count. */
function durationValues(
  name: string,
  labels: { readonly device: string; readonly op: OpClass },
  { buckets, count, meanUs }: Stats["latency"][OpClass],
) {
  const values = [];
  let below = 0;
  for (let bucket = 0; bucket < LATENCY_BUCKETS - 1; bucket++) {
    below += buckets[bucket];
    if (bucket % BUCKETS_PER_OCTAVE !== 0) continue;
    const le = 2 ** (bucket / BUCKETS_PER_OCTAVE) / 1e6;
    values.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: below });
  }
  values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count });
  values.push({ metricName: `${name}_sum`, labels, value: meanUs * count / 1e6 });
  values.push({ metricName: `${name}_count`, labels, value: count });
  return values;
}
