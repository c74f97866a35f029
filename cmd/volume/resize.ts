/**
 * `ublk-volume resize`.
 *
 * @module
 */

import { defaultStore } from "../../volume/folders.ts";
import { resizeVolume } from "../../volume/resize.ts";
import { updateSize } from "../devices/manage.ts";
import type { Values } from "../line/flags.ts";
import type { RESIZE_FLAGS } from "../line/volume_commands.ts";
import { EXIT_OK } from "../program/run.ts";
import { serversHere, writerOf } from "./attached.ts";
import { inVolume } from "./in_volume.ts";

/** `ublk-volume resize`: by its server here if it has one, else in the store. */
export async function resize(
  { name, size, store: url, ...key }: Values<typeof RESIZE_FLAGS>,
): Promise<number> {
  const record = writerOf(`resize ${name}`, serversHere(name), url);
  if (record !== undefined) return await updateSize({ id: record.id, size });
  return await inVolume(url ?? defaultStore(), name, key, async (store) => {
    await resizeVolume(store, name, size);
    return EXIT_OK;
  });
}
