/**
 * Metrics of devices for Prometheus, through `prom-client`, which nothing else of this package
 * needs.
 *
 * @module
 */

export type { Metered } from "./metrics/exposition.ts";
export { type MetricsServer, serveMetrics } from "./metrics/serve.ts";
// What the type of a device refers to, so that the documentation of this door is whole.
export type { Closed, DeviceInfo, DeviceState, DeviceStats, StopOptions } from "./device/info.ts";
export type { ServedDevice } from "./device/serve.ts";
export type { RecoveryMode } from "./device/recovery_mode.ts";
export type { LatencyStats, OpClass, Stats } from "./queue/stats.ts";
export type { DataPathName } from "./uapi/data_path.ts";
export { UblkError, type UblkErrorCode, type UblkErrorInit } from "./uapi/error.ts";
