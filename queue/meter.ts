/**
 * The meter of Deno's own telemetry.
 *
 * @module
 */

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

/** Deno's meter; undefined where its telemetry is off, or is not there (before Deno 2.4). */
export function findMeter(): Meter | undefined {
  try {
    // Of the environment it need not be asked: with telemetry off, this throws.
    return Deno.telemetry.meterProvider.getMeter("@ublk/ublk");
  } catch {
    return undefined;
  }
}
