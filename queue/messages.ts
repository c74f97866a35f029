/**
 * What a serving Worker and its manager say to one another. All of it is cloneable data.
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
    /** The device that is there already, and goes on; absent for a new one. */
    readonly recovered?: RecoveredDevice;
    /** What the first thread's `share` made; absent for the first thread. */
    readonly shared?: Box;
    readonly log: SharedArrayBuffer;
    /** Whether what its modules print goes to the log. */
    readonly takesConsole: boolean;
  }
  | { readonly type: "serve"; readonly order: ServeOrder; readonly cpus: readonly number[] }
  | {
    readonly type: "close";
    /** Whether to release what the threads share; heeded by the one that made it. */
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

/** An error on its way to another thread: `structuredClone` would lose what makes it a UblkError. */
export interface PackedError {
  /** The code of a {@linkcode UblkError}. */
  readonly code?: UblkErrorCode;
  /** The parts of a {@linkcode UblkError}. */
  readonly init?: UblkErrorInit;
  /** The words of any other error. */
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

/** What nobody caught in a thread that serves. */
export function uncaughtError(thread: string, thrown: unknown): UblkError {
  return new UblkError("THREAD_FAILED", {
    operation: `serving thread ${thread}`,
    reason: `uncaught: ${thrownText(thrown).split("\n")[0]}`,
    hint: "see the backend's timers and Promises that nobody awaits",
  });
}

/** What was thrown, and where if it says so. */
export function stackText(thrown: unknown): string {
  try {
    return thrown instanceof Error ? `${thrown.stack}` : thrownText(thrown);
  } catch {
    return thrownText(thrown);
  }
}

/** The error again. */
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
