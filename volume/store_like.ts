/**
 * Stores as programs give them: opened, or by URL.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";

/** A store, or the URL of one: `file:///srv/volumes`, the path of a folder, `memory:NAME`. */
export type StoreLike = Store | string;

/** Opens a store if it is a URL. One that was open stays so. */
export async function storeOf(
  store: StoreLike,
  stack: AsyncDisposableStack,
  options: { readonly files?: Files; readonly create?: boolean } = {},
): Promise<Store> {
  return typeof store === "string" ? stack.use(await openStore(store, options)) : store;
}
