/**
 * The counters of devices as Prometheus metrics. They are read when somebody asks, and at no other
 * time.
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

/** What metrics need of a device. */
export type Metered = Pick<ServedDevice, "id" | "info" | "stats">;

/** A device at the moment of a scrape. */
interface Reading {
  readonly device: string;
  readonly id: number;
  readonly info: ReturnType<Metered["info"]>;
  readonly stats: DeviceStats;
}

/** Counters by the label `op`. */
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

/** Metrics of some devices, which may be others at each scrape. */
export class Exposition {
  readonly #registry = new Registry();
  readonly #devices: () => Iterable<Metered>;
  /** What each device last said, so that no counter falls: see {@linkcode notBelow}. */
  readonly #last = new WeakMap<Metered, DeviceStats>();
  #readings: readonly Reading[] = [];

  /** @param devices Called at each scrape. */
  constructor(devices: () => Iterable<Metered>) {
    this.#devices = devices;
    this.#deviceMetrics();
    this.#queueMetrics();
    this.#info();
  }

  /** The type of {@linkcode text}, for HTTP. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics, now, in the text format of Prometheus. */
  async text(): Promise<string> {
    this.#readings = Array.from(this.#devices(), (device) => this.#read(device));
    // Every metric is collected before this call returns its Promise, all from the same readings.
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
      "Requests whose data was in memory that clients share.",
      [],
      total("shared"),
    );
    counter(
      "log_dropped_total",
      "Log records that nobody drained in time.",
      [],
      one(({ stats }) => stats.logDropped),
    );
    this.#registry.registerMetric(this.#durations() as unknown as Metric);
    gauge(
      "inflight_requests",
      "Requests that the kernel waits for; reads, and all others as writes.",
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
    gauge("queue_depth", "Requests that a queue has room for.", [], one(({ info }) => info.depth));
    gauge(
      "device_info",
      "How the device is served; always 1.",
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
      "Rounds of a thread's loop that found requests, counted for its first queue.",
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

  #info(): void {
    const build = new Gauge({
      name: "ublk_build_info",
      help: "The version that serves; always 1.",
      labelNames: ["version"],
      registers: [this.#registry],
    });
    build.set({ version: config.version }, 1);
  }

  /** A metric whose values, with their labels, are read off each device. */
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

  /** The same, for what may fall. */
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
   * The latencies. The library's own histogram counts what it observes, and these are counted
   * already: so this is a metric of another make, which the registry asks for its values alike.
   */
  #durations(): Pick<Histogram, "get" | "reset"> & { readonly name: string } {
    const name = "ublk_request_duration_seconds";
    return {
      name,
      get: () =>
        Promise.resolve({
          name,
          help: "How long requests took, of those that were measured.",
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

/** The values of one metric, off one device. */
type ReadValues = (
  reading: Reading,
) => readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];

/** Of the four buckets per octave the last ends at a power of two of microseconds. */
const BUCKETS_PER_OCTAVE = 4;

/** One histogram: a bucket per power of two, from a microsecond to a minute, sum and count. */
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
