/**
 * `--metrics`, of every command that serves a device.
 *
 * @module
 */

import { parseMetricsAddress } from "../../metrics/address.ts";
import type { Flag } from "./flags.ts";

/** Where metrics are served. */
export const METRICS = {
  name: "metrics",
  kind: "text",
  placeholder: "ADDRESS",
  help: "Serve metrics for Prometheus at 127.0.0.1:PORT, [::1]:PORT or " +
    "unix:/PATH. Default: nowhere.",
} as const satisfies Flag;

/**
 * Its value.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for what is no address of this machine alone.
 */
export function metricsAddress(text: string | undefined): string | undefined {
  if (text !== undefined) parseMetricsAddress(text, "--metrics");
  return text;
}
