/**
 * Fake devices for tests of the displayed statistics.
 *
 * @module
 */

import { createStatsBuffer, QueueStats, readStats, sumStats } from "../queue/stats.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { Sample } from "../cmd/watch/samples.ts";

/** A fake device with several queues. */
export class FakeDevice {
  readonly #buffers: SharedArrayBuffer[];
  readonly #id: number;

  /** A device that has served no request. */
  constructor(id: number, queues: number) {
    this.#id = id;
    this.#buffers = Array.from({ length: queues }, createStatsBuffer);
  }

  /** Counts requests of 4 KiB that took `us` microseconds each. */
  does(queue: number, op: "read" | "write", requests: number, us: number): void {
    const stats = new QueueStats(this.#buffers[queue]);
    const code = op === "read" ? UBLK_IO_OP_READ : UBLK_IO_OP_WRITE;
    stats.batch(requests);
    for (let time = 0; time < requests; time++) {
      stats.count(code, 4096);
      stats.latency(code, us);
    }
  }

  /** Counts a failed request. */
  fails(queue: number): void {
    new QueueStats(this.#buffers[queue]).error();
  }

  /** The server's sample at that time. */
  sample(sampledMs: number): Sample {
    const queues = this.#buffers.map(readStats);
    return {
      id: this.#id,
      target: "mem",
      reason: null,
      inFlight: { reads: 3, writes: 14 },
      stats: { total: sumStats(queues), queues, logDropped: 0, pid: 7, sampledMs },
    };
  }
}

/** The sample of a device whose server does not answer. */
export function silentSample(id: number, reason: string): Sample {
  return { id, target: null, reason, inFlight: null, stats: null };
}
