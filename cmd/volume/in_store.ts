/**
 * Stores of commands, and their errors.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { isShared, NOT_SHARED } from "../../volume/shared_store.ts";
import { storeFailure } from "../../volume/store_like.ts";

/**
 * Runs something that uses a store.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` if the store would be gone with this command; `VOLUME_STORE`.
 */
export async function inStore<T>(store: string, run: () => Promise<T>): Promise<T> {
  if (!isShared(store)) {
    throw new UblkError("INVALID_ARGUMENT", {
      operation: `open the store "${store}"`,
      ...NOT_SHARED,
    });
  }
  try {
    return await run();
  } catch (error) {
    throw storeFailure(error);
  }
}
