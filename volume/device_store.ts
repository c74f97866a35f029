/**
 * Stores that a device can use: those whose objects are files on this machine. The thread of a device
 * reads them through its ring.
 *
 * @module
 */

import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";

/** The path of an object's file. @throws {UblkError} `INVALID_ARGUMENT` if the store has no files. */
export function localPathOf(store: Store): (name: string) => string {
  if (store.localPath !== undefined) return (name) => store.localPath!(name);
  throw new UblkError("INVALID_ARGUMENT", {
    operation: `store ${store.url}`,
    reason: "a device needs a store in a folder",
    hint: "use file:///PATH; a folder in /dev/shm is in memory too",
  });
}
