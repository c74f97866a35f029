/**
 * Prometheus metrics of devices. Needs `prom-client`, which no other part of this package uses.
 *
 * @module
 */

export type { Metered } from "./metrics/exposition.ts";
export { type MetricsServer, serveMetrics } from "./metrics/serve.ts";
// The types that `ServedDevice` refers to, so that the documentation of this module is complete.
export type { Closed, DeviceInfo, DeviceState, DeviceStats, StopOptions } from "./device/info.ts";
export type { CounterReading, CounterRow } from "./disk/counters.ts";
export type { ServedDevice } from "./device/serve.ts";
export type { RecoveryMode } from "./device/recovery_mode.ts";
export type { LatencyStats, OpClass, Stats } from "./queue/stats.ts";
export type { DataPathName } from "./uapi/data_path.ts";
export { UblkError, type UblkErrorCode, type UblkErrorInit } from "./uapi/error.ts";
