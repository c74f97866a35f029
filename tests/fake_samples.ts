/**
 * Fake devices for tests of the displayed statistics.
 *
 * @module
 */

import { readCounters } from "../disk/counters.ts";
import { createStatsBuffer, QueueStats, readStats, sumStats } from "../queue/stats.ts";
import { UBLK_IO_OP_READ, UBLK_IO_OP_WRITE } from "../uapi/ublk_io.ts";
import type { Sample } from "../cmd/watch/samples.ts";
import { AT, VolumeCounters } from "../volume/counters.ts";

const MIB = 1 << 20;

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

/** A volume that has written 8 MiB, of which 1 MiB is in the journal only, for two seconds. */
export function fakeVolume(id: number, sampledMs: number): Sample {
  const counters = new VolumeCounters();
  counters.set(AT.journalBytes, 1.25 * MIB);
  counters.set(AT.journalSizeBytes, 64 * MIB);
  counters.set(AT.lagBytes, MIB);
  counters.set(AT.lagSeconds, 1_000_000);
  counters.add(AT.writtenBytes, 8 * MIB);
  counters.add(AT.journalWrittenBytes, 9 * MIB);
  counters.add(AT.chunkWrittenBytes, 6 * MIB);
  counters.add(AT.chunkPlainBytes, 9 * MIB);
  counters.add(AT.mapWrittenBytes, MIB / 2);
  counters.add(AT.commits, 3);
  const sample = new FakeDevice(id, 1).sample(sampledMs);
  return {
    ...{ ...sample, target: "volume" },
    stats: { ...sample.stats!, backend: readCounters(counters, 3_000_000) },
  };
}

/** The sample of a device whose server does not answer. */
export function silentSample(id: number, reason: string): Sample {
  return { id, target: null, reason, inFlight: null, stats: null };
}
