/**
 * OpenTelemetry, where Deno exports it (`OTEL_DENO=true`): what a device has done goes along.
 *
 * Deno's own support is all that is used, and where it is off nothing but {@linkcode findMeter}
 * runs.
 *
 * @module
 */

import { findMeter } from "../queue/meter.ts";
import type { Observed } from "./telemetry_instruments.ts";

/** Sends what a device does along with Deno's telemetry, until it is served no more. */
export async function sendTelemetry(
  device: Observed & { readonly closed: Promise<unknown> },
): Promise<void> {
  const meter = findMeter();
  if (meter === undefined) return;
  const { observeDevice } = await import("./telemetry_instruments.ts");
  const observation = observeDevice(meter, device);
  device.closed.then(() => observation[Symbol.dispose]());
}
