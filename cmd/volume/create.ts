/**
 * `ublk-volume create`.
 *
 * @module
 */

import type { Compression } from "../../volume/format/compression.ts";
import { defaultStore } from "../../volume/folders.ts";
import { Volume } from "../../volume/volume.ts";
import type { CREATE_FLAGS } from "../line/volume_commands.ts";
import type { Values } from "../line/flags.ts";
import { EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";
import { keyFileOf } from "./in_volume.ts";

/** `ublk-volume create`. */
export async function create(
  { name, size, store = defaultStore(), compress, ...values }: Values<typeof CREATE_FLAGS>,
): Promise<number> {
  const key = keyFileOf(values);
  return await inStore(store, async () => {
    await Volume.create(name, {
      ...{ store, size, blockSize: values["block-size"], chunkSize: values["chunk-size"], key },
      compress: compress as Compression | undefined,
    });
    return EXIT_OK;
  });
}
