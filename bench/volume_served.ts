/**
 * A volume as it is served, with its drain and its fetches in threads of their own, but without ublk:
 * {@linkcode BenchHost} makes the requests.
 *
 * @module
 */

import { readCounters } from "../disk/counters.ts";
import { assert } from "../uapi/error.ts";
import { openDisk } from "../volume/open_disk.ts";
import { BenchHost } from "./volume_host.ts";

/** Most requests at a time. */
const REQUESTS = 64;

/** The place of a volume that is served. */
export interface ServedPlace {
  /** The volume's name. */
  readonly name: string;
  /** The URL or the folder of its store. */
  readonly store: string;
  /** The folder for journals. */
  readonly journal: string;
  /** Bytes of the journal. */
  readonly journalBytes: number;
}

/** A volume that is served. To dispose of it takes until its store has everything. */
export interface Served extends AsyncDisposable {
  /** Makes requests. The thread does nothing else while it does. */
  readonly host: BenchHost;
  /** Bytes of the disk. */
  readonly size: number;
  /** One of the volume's counters. */
  counter(name: string): number;
}

/** Serves a volume, for requests of so many bytes. */
export async function serveVolume(
  place: ServedPlace,
  requestBytes: number,
  readOnly = false,
): Promise<Served> {
  const disk = await openDisk({
    ...place,
    ...{ withoutJournal: false, force: false, leaseMs: 0, whenFull: "wait", durability: "local" },
    readOnly,
  });
  const { engine, counters } = disk;
  assert(engine !== undefined && counters !== undefined, "a volume has an engine and counters");
  const host = new BenchHost(engine, REQUESTS, requestBytes);
  return {
    ...{ host, size: disk.size },
    counter: (name) => readCounters(counters).values[name] ?? 0,
    async [Symbol.asyncDispose]() {
      host[Symbol.dispose]();
      await disk.close!();
    },
  };
}
