/**
 * `ublk-volume rekey`.
 *
 * @module
 */

import { defaultStore } from "../../volume/folders.ts";
import { rekeyVolume } from "../../volume/seal/unlock.ts";
import { usageError, type Values } from "../line/flags.ts";
import type { REKEY_FLAGS } from "../line/volume_commands.ts";
import { EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";
import { keyFileOf } from "./in_volume.ts";

/** `ublk-volume rekey`: whoever has the volume attached goes on. */
export async function rekey(
  { name, store = defaultStore(), ...values }: Values<typeof REKEY_FLAGS>,
): Promise<number> {
  const from = keyFileOf(values);
  const to = keyFileOf({
    "key-file": values["new-key-file"],
    "passphrase-file": values["new-passphrase-file"],
  });
  if (from === undefined || to === undefined) {
    throw usageError(
      "ublk-volume rekey",
      `the ${from === undefined ? "old" : "new"} key is missing`,
      "give --key-file or --passphrase-file, and --new-key-file or --new-passphrase-file",
    );
  }
  return await inStore(store, async () => {
    await rekeyVolume(store, name, from, to);
    return EXIT_OK;
  });
}
