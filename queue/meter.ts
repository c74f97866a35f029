/**
 * Access to the meter of Deno's built-in telemetry.
 *
 * @module
 */

/** The subset of OpenTelemetry's `Meter` that is used here. */
export interface Meter {
  /** Makes an observable counter. */
  createObservableCounter(name: string, options: InstrumentOptions): Instrument;
  /** Makes an observable up-down counter. */
  createObservableUpDownCounter(name: string, options: InstrumentOptions): Instrument;
  /** Makes an observable gauge. */
  createObservableGauge(name: string, options: InstrumentOptions): Instrument;
  /** Adds a callback that runs at each export. */
  addBatchObservableCallback(callback: Observe, instruments: readonly Instrument[]): void;
  /** Removes the callback. */
  removeBatchObservableCallback(callback: Observe, instruments: readonly Instrument[]): void;
}

/** Options of an instrument. */
export interface InstrumentOptions {
  /** The unit, in UCUM notation. */
  readonly unit: string;
  /** A description in words. */
  readonly description: string;
}

/** An OpenTelemetry instrument. */
export interface Instrument {
  /** Makes the type opaque. Instruments are only passed as arguments. */
  readonly _instrument?: never;
}

/** A callback that runs at each export, and reports values to `result`. */
export type Observe = (result: {
  observe(instrument: Instrument, value: number, attributes: Record<string, string>): void;
}) => void;

/** Returns Deno's meter, or undefined if telemetry is off or missing (before Deno 2.4). */
export function findMeter(): Meter | undefined {
  try {
    // With telemetry off this throws, so there is no need to check the environment.
    return Deno.telemetry.meterProvider.getMeter("@ublk/ublk");
  } catch {
    return undefined;
  }
}
