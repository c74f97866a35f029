/**
 * OpenTelemetry, where Deno exports it (`OTEL_DENO=true`): what a device has done goes along.
 *
 * Deno's own support is all that is used, and where it is off nothing but {@linkcode findMeter}
 * runs.
 *
 * @module
 */

import type { Device } from "./device.ts";

/** As much of OpenTelemetry's `Meter` as is used. */
export interface Meter {
  /** Makes an instrument. */
  createObservableCounter(name: string, options: InstrumentOptions): Instrument;
  /** Makes an instrument. */
  createObservableUpDownCounter(name: string, options: InstrumentOptions): Instrument;
  /** Makes an instrument. */
  createObservableGauge(name: string, options: InstrumentOptions): Instrument;
  /** Calls back at each export. */
  addBatchObservableCallback(callback: Observe, instruments: readonly Instrument[]): void;
  /** Does so no more. */
  removeBatchObservableCallback(callback: Observe, instruments: readonly Instrument[]): void;
}

/** What an instrument is for. */
export interface InstrumentOptions {
  /** In UCUM. */
  readonly unit: string;
  /** In words. */
  readonly description: string;
}

/** Something that OpenTelemetry measures. */
export interface Instrument {
  /** No value but as an argument. */
  readonly _instrument?: never;
}

/** Called at each export, with what takes the values. */
export type Observe = (result: {
  observe(instrument: Instrument, value: number, attributes: Record<string, string>): void;
}) => void;

/** Sends what a device does along with Deno's telemetry, until it is served no more. */
export async function sendTelemetry(device: Device): Promise<void> {
  const meter = findMeter();
  if (meter === undefined) return;
  const { observeDevice } = await import("./telemetry_instruments.ts");
  const observation = observeDevice(meter, device);
  device.closed.then(() => observation[Symbol.dispose]());
}

/** Deno's meter; undefined where its telemetry is off, or is not there (before Deno 2.4). */
export function findMeter(): Meter | undefined {
  try {
    // Of the environment it need not be asked: with telemetry off, this throws.
    return Deno.telemetry.meterProvider.getMeter("@ublk/ublk");
  } catch {
    return undefined;
  }
}
