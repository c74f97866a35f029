/**
 * The messages between a serving Worker and its manager. All of them are cloneable data.
 *
 * @module
 */

import type { Sharing } from "../disk/backend.ts";
import type { BackendCounters } from "../disk/counters.ts";
import type { RecoveredDevice } from "../disk/load.ts";
import type { Box } from "../disk/opened.ts";
import type { BackendSpec } from "../disk/spec.ts";
import type { BackendTraits } from "../disk/traits.ts";
import { thrownText, UblkError } from "../uapi/error.ts";
import type { PackedError } from "../uapi/packed_error.ts";
import type { ServeOrder, ThreadResources } from "./serving.ts";

/** From the manager to a thread. */
export type ToThread =
  | {
    readonly type: "open";
    readonly spec: BackendSpec;
    readonly queue: number;
    /** The existing device that is being recovered; absent for a new one. */
    readonly recovered?: RecoveredDevice;
    /** The time that requests have, in milliseconds. */
    readonly deadlineMs?: number;
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
    /** The counters that the disk has of its own, if any. */
    readonly counters: BackendCounters | undefined;
    /** Lines about how the disk was opened. */
    readonly warnings: readonly string[];
  }
  | { readonly type: "ready"; readonly resources: ThreadResources }
  | { readonly type: "stopped"; readonly lostErrno: number }
  | { readonly type: "closed" }
  | { readonly type: "failed"; readonly error: PackedError };

/** Makes the error for an uncaught exception in a serving thread. */
export function uncaughtError(thread: string, thrown: unknown): UblkError {
  return new UblkError("THREAD_FAILED", {
    operation: `serving thread ${thread}`,
    reason: `uncaught: ${thrownText(thrown).split("\n")[0]}`,
    hint: "see the backend's timers and Promises that nobody awaits",
  });
}
