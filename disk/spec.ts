/**
 * A specification of a backend: data that can cross to a Worker, where it is opened.
 *
 * A specification is not an implementation. A Worker has a JavaScript heap of its own, so what it
 * is given is the URL of a module and cloneable options.
 *
 * @module
 */

/** Names a backend: which module to load and what to open it with. */
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
  /** Passed to `open`; must survive `structuredClone`. */
  readonly options?: unknown;
  /** The backends that this one wraps, opened before it and passed as `context.inner`. */
  readonly inner?: readonly BackendSpec[];
}

/** Whether a value is a {@linkcode BackendSpec} rather than a backend itself. */
export function isBackendSpec(value: unknown): value is BackendSpec {
  return typeof value === "object" && value !== null &&
    typeof (value as { module?: unknown }).module === "string";
}
