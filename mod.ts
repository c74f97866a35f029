/**
 * Linux block devices served from TypeScript.
 *
 * A backend (memory, a file, or an object of your own) becomes the disk `/dev/ublkbN`, through the
 * kernel's ublk driver and io_uring. Only Deno and libc are needed.
 *
 * @example A RAM disk
 * ```ts
 * import { memory, serve } from "@ublk/ublk";
 *
 * await using device = await serve({ backend: memory("1GiB") });
 * console.log(device.path); // "/dev/ublkb0"; deleted at the end of this scope
 * ```
 *
 * @module
 */

export type {
  Answer,
  Backend,
  BackendModule,
  Extent,
  OpenContext,
  RequestLimits,
  RingMethods,
  RingOperations,
  RingRequest,
  ShareContext,
  Sharing,
  Topology,
  WriteOptions,
  WriteZeroesOptions,
  Zone,
  ZoneCondition,
  ZoneMethods,
} from "./disk/backend.ts";
export type { Claim, FileUse } from "./disk/claims.ts";
export type { BackendCounters, CounterReading, CounterRow } from "./disk/counters.ts";
export type { Engine, EngineHost, EngineMemory } from "./disk/engine.ts";
export { engineMemory } from "./disk/engine_memory.ts";
export { faultInject, type FaultInjectOptions } from "./backends/fault_inject.ts";
export { type ByteRange, type GeometryOptions, type Size } from "./disk/geometry.ts";
export { file, type FileOptions } from "./backends/loop.ts";
export { memory, type MemoryOptions } from "./backends/memory.ts";
export type { TargetDescription } from "./disk/module.ts";
export { nullDisk, type NullOptions } from "./backends/null.ts";
export type { Option, OptionKind } from "./disk/option.ts";
export { formatSize, parseSize } from "./disk/size.ts";
export type { BackendSpec } from "./disk/spec.ts";
export { stripe, type StripeOptions } from "./backends/stripe.ts";
export { zoned, type ZonedOptions } from "./backends/zoned.ts";
export { cache, type CacheMode, type CacheOptions } from "./backends/wrappers/cache.ts";
export { cow, type CowOptions } from "./backends/wrappers/cow.ts";
export { delay, type DelayOptions } from "./backends/wrappers/delay.ts";
export { error, type ErrorOptions } from "./backends/wrappers/error.ts";
export { log, type LogOptions } from "./backends/wrappers/log.ts";
export { offset, type OffsetOptions } from "./backends/wrappers/offset.ts";
export { partition, type PartitionOptions } from "./backends/wrappers/partition.ts";
export { rate, type RateOptions } from "./backends/wrappers/rate.ts";
export { readonly } from "./backends/wrappers/readonly.ts";
export { stats, type StatsOptions } from "./backends/wrappers/stats.ts";
export type { OperationName } from "./disk/operations.ts";
export type { Time } from "./disk/wrapper.ts";
export { zip, type ZipOptions } from "./backends/zip.ts";
export { Device } from "./device/device.ts";
export type { Closed, DeviceInfo, DeviceState, DeviceStats, StopOptions } from "./device/info.ts";
export { LOGGER } from "./device/log.ts";
export type {
  DeviceOptions,
  IntegrityOptions,
  RecoverOptions,
  SharedMemoryOptions,
  TopologyOptions,
} from "./device/options.ts";
export type { RecoveryMode } from "./device/recovery_mode.ts";
export { recover, serve, type ServedDevice } from "./device/serve.ts";
export type { Checksum } from "./uapi/integrity.ts";
export type { LatencyStats, OpClass, Stats } from "./queue/stats.ts";
export type { DataPathName } from "./uapi/data_path.ts";
export { UblkError, type UblkErrorCode, type UblkErrorInit } from "./uapi/error.ts";
export {
  type RingFileOptions,
  type RingFiles,
  ringFiles,
  type RingSyncOptions,
} from "./uring/ring_files.ts";
export type { EndSignal } from "./uring/signals.ts";
