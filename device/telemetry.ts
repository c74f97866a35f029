/**
 * Exports a device's counters through OpenTelemetry, if Deno exports it (`OTEL_DENO=true`).
 *
 * Uses Deno's own support only. If that is off, nothing but {@linkcode findMeter} runs.
 *
 * @module
 */

import { findMeter } from "../queue/meter.ts";
import type { Observed } from "./telemetry_instruments.ts";

/** Exports a device's counters with Deno's telemetry until its service ends. */
export async function sendTelemetry(
  device: Observed & { readonly closed: Promise<unknown> },
): Promise<void> {
  const meter = findMeter();
  if (meter === undefined) return;
  const { observeDevice } = await import("./telemetry_instruments.ts");
  const observation = observeDevice(meter, device);
  device.closed.then(() => observation[Symbol.dispose]());
}
