/**
 * Cancellation by the caller's signal.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";

/** Throws `ABORTED` if the caller's signal has fired. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new UblkError("ABORTED", {
    operation: "serve",
    reason: "the caller's signal fired",
    cause: signal.reason,
  });
}

/** Follows the promise, but rejects with `ABORTED` as soon as the caller's signal fires. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => {
      try {
        checkAborted(signal);
      } catch (error) {
        reject(error);
      }
    };
    signal.addEventListener("abort", abort, { once: true });
    abort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
