/**
 * The flag `--metrics` of every command that serves a device.
 *
 * @module
 */

import { parseMetricsAddress } from "../../metrics/address.ts";
import type { Flag } from "./flags.ts";

/** The address for metrics. */
export const METRICS = {
  name: "metrics",
  kind: "text",
  placeholder: "ADDRESS",
  help: "Serve metrics for Prometheus at 127.0.0.1:PORT, [::1]:PORT or " +
    "unix:/PATH. Default: nowhere.",
} as const satisfies Flag;

/**
 * Reads the flag's value.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for anything but a loopback address or a socket of this
 *   machine.
 */
export function metricsAddress(text: string | undefined): string | undefined {
  if (text !== undefined) parseMetricsAddress(text, "--metrics");
  return text;
}
