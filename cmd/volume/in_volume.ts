/**
 * Stores of commands that read what is in a volume, opened with its key if it is encrypted.
 *
 * @module
 */

import { openStore } from "../../store/open.ts";
import type { Store } from "../../store/store.ts";
import { forbidCoreFiles } from "../../uring/process.ts";
import { referenceOf } from "../../volume/names.ts";
import type { VolumeKeyFile } from "../../volume/seal/key_source.ts";
import { unlocked } from "../../volume/seal/unlock.ts";
import { usageError } from "../line/flags.ts";
import { inStore } from "./in_store.ts";

/** The flags of a key, as a command has them. */
export interface KeyValues {
  /** The path of a file with 32 bytes. */
  readonly "key-file"?: string;
  /** The path of a file with a passphrase. */
  readonly "passphrase-file"?: string;
}

/**
 * The file with the key; undefined for none. With one, this process writes no core file any more.
 *
 * @throws {UblkError} `INVALID_ARGUMENT` for two.
 */
export function keyFileOf(
  { "key-file": keyFile, "passphrase-file": passphraseFile }: KeyValues,
): VolumeKeyFile | undefined {
  if (keyFile !== undefined && passphraseFile !== undefined) {
    throw usageError("key", "a key and a passphrase are given", "give the one that it has");
  }
  if (keyFile === undefined && passphraseFile === undefined) return undefined;
  forbidCoreFiles();
  return keyFile !== undefined ? { keyFile } : { passphraseFile: passphraseFile! };
}

/**
 * Runs something with the store of a volume.
 *
 * @param name `NAME` or `NAME@SNAPSHOT`.
 * @param key With `isOptional`, an encrypted volume without a key has the store as it is.
 */
export async function inVolume<T>(
  url: string,
  name: string,
  key: KeyValues & { readonly isOptional?: boolean },
  run: (store: Store) => Promise<T>,
): Promise<T> {
  const file = keyFileOf(key);
  return await inStore(url, async () => {
    await using store = await openStore(url);
    const isLocked = key.isOptional && file === undefined;
    return await run(isLocked ? store : await unlocked(store, referenceOf(name).volume, file));
  });
}
