/**
 * Errors of a store, as those of commands.
 *
 * @module
 */

import { StoreError } from "../../store/store.ts";
import { UblkError } from "../../uapi/error.ts";

/** Runs something that uses a store. */
export async function inStore<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new UblkError("VOLUME_STORE", {
      operation: "store",
      reason: error.message,
      cause: error,
    });
  }
}
