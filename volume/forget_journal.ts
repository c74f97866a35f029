/**
 * Gives back the room of a journal that its volume does not need.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { catalogOf } from "./catalog.ts";
import { readHead } from "./state.ts";
import { mayBeOf, readIdentity } from "./journal/identity.ts";
import { lockJournal, removeJournal } from "./list.ts";
import { ObjectNames } from "./names.ts";
import { type StoreLike, storeOf } from "./store_like.ts";

/**
 * Removes the journal of a volume that was left in order, was taken by somebody else, or is gone. One
 * that has something which the store lacks stays, and so does one of another copy of the volume.
 *
 * @param journal The folder of journals.
 * @returns Whether there is no journal any more.
 * @throws {UblkError} `VOLUME_BUSY` if it is in use.
 */
export async function forgetJournal(
  store: StoreLike,
  name: string,
  journal: string,
  files: Files = realFiles,
): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const folder = `${journal}/${name}`;
  if (files.status(folder) === undefined) return true;
  lockJournal(files, folder, stack);
  const identity = readIdentity(files, folder);
  // A journal gets its name in the head before anything is written to it, and under the lock.
  const names = new ObjectNames(name);
  const head = (await readHead(opened, names, { settled: true }))?.head;
  if (identity !== undefined && head?.volume === identity.volume) {
    const { copy } = await catalogOf(opened, names, head.volume);
    const isNeeded = head.journal === identity.journal || !mayBeOf(identity, { ...head, copy });
    if (isNeeded) return false;
  }
  removeJournal(files, folder, undefined);
  return true;
}
