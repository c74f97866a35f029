/**
 * Metrics of devices for Prometheus, through `prom-client`, which nothing else of this package
 * needs.
 *
 * @module
 */

export type { Metered } from "./metrics/exposition.ts";
export { type MetricsServer, serveMetrics } from "./metrics/serve.ts";
