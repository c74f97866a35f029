/**
 * The first bytes of a volume, which whoever creates it may give.
 *
 * @module
 */

import type { VolumeKeyFile } from "../volume/seal/key_source.ts";
import type { StoreLike } from "../volume/store_like.ts";
import { Volume } from "../volume/volume.ts";

/** Most bytes: in base64 they fit into a message of NATS. */
export const MOST_SEED_BYTES: number = 640 << 10;

/** Room for the journal of a volume that is only seeded: the least that there is. */
const JOURNAL_SIZE = "16MiB";

/**
 * Writes bytes to the start of a volume that nobody has used yet, and leaves it in order.
 *
 * @param key Of a volume that is encrypted; undefined for others.
 * @param folder For its journal while it is written. It is removed afterwards, if all went well.
 * @throws {UblkError}
 */
export async function seedVolume(
  store: StoreLike,
  id: string,
  seed: Uint8Array,
  key: VolumeKeyFile | undefined,
  folder: string,
): Promise<void> {
  {
    await using volume = await Volume.open(id, {
      ...{ store, key, journal: folder, journalSize: JOURNAL_SIZE },
      // What another attempt has written is the same.
      withoutJournal: true,
    });
    const { blockSize } = volume;
    const whole = new Uint8Array(Math.ceil(seed.length / blockSize) * blockSize);
    whole.set(seed);
    await volume.write(whole, 0);
  }
  await Deno.remove(`${folder}/${id}`, { recursive: true });
}

/** The SHA-256 of bytes, in hexadecimal digits. */
export async function sumOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
