/**
 * A specification of a backend: data that can be sent to a Worker, which opens the backend.
 *
 * A specification is not an implementation. A Worker has a JavaScript heap of its own, so it
 * receives the URL of a module and cloneable options.
 *
 * @module
 */

/** Specifies a backend: the module to load, and the options to open it with. */
export interface BackendSpec {
  /** The absolute URL of a module whose exports are a `BackendModule`. */
  readonly module: string;
  /**
   * The name of the export to use: an object with the shape of `BackendModule`, or its `open`
   * function.
   *
   * @default The module's own exports, or else its default export
   */
  readonly export?: string;
  /** Options passed to `open`. They must survive `structuredClone`. */
  readonly options?: unknown;
  /** The backends that this one wraps, opened before it and passed as `context.inner`. */
  readonly inner?: readonly BackendSpec[];
}

/** Whether a value is a {@linkcode BackendSpec} rather than a backend itself. */
export function isBackendSpec(value: unknown): value is BackendSpec {
  return typeof value === "object" && value !== null &&
    typeof (value as { module?: unknown }).module === "string";
}
