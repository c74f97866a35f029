/**
 * The messages between a serving Worker and its manager. All of them are cloneable data.
 *
 * @module
 */

import type { Sharing } from "../disk/backend.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import type { Box } from "../disk/opened.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { BackendTraits } from "../disk/traits.ts";
import {
  isUblkError,
  thrownText,
  UblkError,
  type UblkErrorCode,
  type UblkErrorInit,
} from "../uapi/error.ts";
import type { ServeOrder, ThreadResources } from "./serving.ts";

/** From the manager to a thread. */
export type ToThread =
  | {
    readonly type: "open";
    readonly spec: BackendSpec;
    readonly queue: number;
    /** The existing device that is being recovered; absent for a new one. */
    readonly recovered?: RecoveredDevice;
    /** The result of `share` in the first thread; absent for the first thread. */
    readonly shared?: Box;
    readonly log: SharedArrayBuffer;
    /** Whether console output of the thread goes to the log. */
    readonly takesConsole: boolean;
  }
  | { readonly type: "serve"; readonly order: ServeOrder; readonly cpus: readonly number[] }
  | {
    readonly type: "close";
    /** Whether to release the threads' shared state. Only the thread that made it does so. */
    readonly unshare: boolean;
  };

/** From a thread to its manager. */
export type FromThread =
  | {
    readonly type: "opened";
    readonly traits: BackendTraits;
    readonly sharing: Sharing;
    readonly shared: unknown;
  }
  | { readonly type: "ready"; readonly resources: ThreadResources }
  | { readonly type: "stopped"; readonly lostErrno: number }
  | { readonly type: "closed" }
  | { readonly type: "failed"; readonly error: PackedError };

/** An error in cloneable form. `structuredClone` would lose the fields of a UblkError. */
export interface PackedError {
  /** The code, for a {@linkcode UblkError}. */
  readonly code?: UblkErrorCode;
  /** The fields, for a {@linkcode UblkError}. */
  readonly init?: UblkErrorInit;
  /** The error's message. */
  readonly message: string;
}

/** Makes an error cloneable. */
export function packError(error: unknown): PackedError {
  if (isUblkError(error)) {
    const { code, operation, reason, hint, device, queue, errno, message } = error;
    return { code, message, init: { operation, reason, hint, device, queue, errno } };
  }
  return { message: thrownText(error) };
}

/** Makes the error for an uncaught exception in a serving thread. */
export function uncaughtError(thread: string, thrown: unknown): UblkError {
  return new UblkError("THREAD_FAILED", {
    operation: `serving thread ${thread}`,
    reason: `uncaught: ${thrownText(thrown).split("\n")[0]}`,
    hint: "see the backend's timers and Promises that nobody awaits",
  });
}

/** Restores a packed error. */
export function unpackError(packed: PackedError): UblkError {
  if (packed.code !== undefined && packed.init !== undefined) {
    return new UblkError(packed.code, packed.init);
  }
  return new UblkError("THREAD_FAILED", {
    operation: "serve",
    reason: packed.message,
    hint: "this is a bug of @ublk/ublk; please report it",
  });
}
