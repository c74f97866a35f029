/**
 * Devices that are not there, for the tests of what is shown of them.
 *
 * @module
 */

import { createStatsBuffer, QueueStats, readStats, sumStats } from "../queue/stats.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { Sample } from "../cmd/watch/samples.ts";

/** A device of some queues. */
export class FakeDevice {
  readonly #buffers: SharedArrayBuffer[];
  readonly #id: number;

  /** Nothing has been done yet. */
  constructor(id: number, queues: number) {
    this.#id = id;
    this.#buffers = Array.from({ length: queues }, createStatsBuffer);
  }

  /** Requests of 4 KiB that took so long. */
  does(queue: number, op: "read" | "write", requests: number, us: number): void {
    const stats = new QueueStats(this.#buffers[queue]);
    const code = op === "read" ? UBLK_IO_OP_READ : UBLK_IO_OP_WRITE;
    stats.batch(requests);
    for (let time = 0; time < requests; time++) {
      stats.count(code, 4096);
      stats.latency(code, us);
    }
  }

  /** A request that failed. */
  fails(queue: number): void {
    new QueueStats(this.#buffers[queue]).error();
  }

  /** What its server tells at that time. */
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

/** A device whose server does not tell. */
export function silentSample(id: number, reason: string): Sample {
  return { id, target: null, reason, inFlight: null, stats: null };
}
