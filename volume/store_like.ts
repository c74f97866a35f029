/**
 * Stores as programs give them: opened, or by URL.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { openStore } from "../store/open.ts";
import { type Store, StoreError } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { openedStore } from "./opened_store.ts";

/** A store, or the URL of one: `file:///srv/volumes`, the path of a folder, `s3://BUCKET/PREFIX`,
 * `memory:NAME`. */
export type StoreLike = Store | string;

/**
 * Opens a store if it is a URL. One that was open stays so.
 *
 * @returns It with its objects in their plain form, as far as no key is needed.
 */
export async function storeOf(
  store: StoreLike,
  stack: AsyncDisposableStack,
  options: { readonly files?: Files; readonly create?: boolean } = {},
): Promise<Store> {
  return openedStore(
    typeof store === "string" ? stack.use(await openStore(store, options)) : store,
  );
}

/** A store's failure as `VOLUME_STORE`, for whoever knows only errors of ublk; others as they are. */
export function storeFailure(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  const { message: reason } = error;
  return new UblkError("VOLUME_STORE", { operation: "store", reason, cause: error });
}
