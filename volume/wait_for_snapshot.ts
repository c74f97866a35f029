/**
 * Waits for a snapshot that was taken on this machine, or for what a volume's journal has, before that is
 * read, cloned or removed.
 *
 * @module
 */

import { realFiles } from "../files/real.ts";
import { headAndCatalog, marksOf, waitForEntry } from "./marks/take.ts";
import { referenceOf } from "./names.ts";
import { snapshotIn } from "./snapshots.ts";
import { type StoreLike, storeOf } from "./store_like.ts";
import { waitForStore, type WaitForStoreOptions } from "./wait_for_store.ts";

/**
 * Waits until the store has a snapshot that was taken on this machine. Of any other it knows nothing, and
 * returns.
 *
 * @param reference `NAME@SNAPSHOT`. For `NAME` there is nothing to wait for.
 * @param options `journal` is the folder of journals.
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if nobody brings it to the store.
 */
export async function waitForSnapshot(
  store: StoreLike,
  reference: string,
  { journal, files = realFiles }: WaitForStoreOptions,
): Promise<void> {
  const { volume: name, snapshot } = referenceOf(reference);
  if (snapshot === undefined) return;
  await using stack = new AsyncDisposableStack();
  const place = { store: await storeOf(store, stack), name, folder: `${journal}/${name}`, files };
  const { head, catalog } = await headAndCatalog(place);
  if (snapshotIn(catalog, snapshot) !== undefined) return;
  const mark = marksOf(place, head).find((one) => one.name === snapshot);
  if (mark !== undefined) await waitForEntry(place, mark);
}

/**
 * Waits until the store has everything that belongs to a state: of a snapshot as {@linkcode waitForSnapshot},
 * of a volume as {@linkcode waitForStore}.
 *
 * @param reference `NAME` or `NAME@SNAPSHOT`.
 * @param options `journal` is the folder of journals.
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_JOURNAL` if the volume's journal is elsewhere;
 *   `VOLUME_BUSY` if nobody brings it to the store.
 */
export async function waitForReference(
  store: StoreLike,
  reference: string,
  options: WaitForStoreOptions,
): Promise<void> {
  const { volume, snapshot } = referenceOf(reference);
  if (snapshot === undefined) await waitForStore(store, volume, options);
  else await waitForSnapshot(store, reference, options);
}
