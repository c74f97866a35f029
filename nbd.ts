/**
 * Disks over the NBD protocol, for machines without ublk, for QEMU and for other systems' clients:
 * any backend, wrapper stack or volume, without a block device and without root. See `docs/ublk-nbd.md`.
 *
 * @example
 * ```ts ignore
 * import { memory } from "@ublk/ublk";
 * import { serveNbd } from "@ublk/ublk/nbd";
 *
 * await using server = await serveNbd({ backend: memory("1GiB"), listen: "unix:/tmp/disk.sock" });
 * await server.finished;
 * ```
 *
 * @module
 */

export {
  type NbdExportOptions,
  type NbdServer,
  type NbdServerOptions,
  type NbdTlsOptions,
  serveNbd,
  type ServeNbdOptions,
} from "./nbd/serve.ts";
export type {
  Answer,
  Backend,
  Extent,
  RequestLimits,
  RingMethods,
  RingOperations,
  RingRequest,
  Topology,
  WriteOptions,
  WriteZeroesOptions,
  Zone,
  ZoneCondition,
  ZoneMethods,
} from "./disk/backend.ts";
export type { BackendCounters, CounterReading, CounterRow } from "./disk/counters.ts";
export type { Engine, EngineHost, EngineMemory } from "./disk/engine.ts";
export type { Size } from "./disk/geometry.ts";
export type { BackendSpec } from "./disk/spec.ts";
