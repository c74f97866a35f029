/**
 * `ublk-volume create`.
 *
 * @module
 */

import { openStore } from "../../store/open.ts";
import { createVolume } from "../../volume/committed.ts";
import { defaultStore } from "../../volume/folders.ts";
import { MACHINE } from "../../volume/seam.ts";
import type { CREATE_FLAGS } from "../line/volume_commands.ts";
import { usageError, type Values } from "../line/flags.ts";
import { EXIT_OK } from "../program/run.ts";
import { inStore } from "./in_store.ts";

/** `ublk-volume create`. */
export async function create(
  { name, size, store: url = defaultStore(), ...values }: Values<typeof CREATE_FLAGS>,
): Promise<number> {
  const blockSize = values["block-size"] ?? 4096;
  const chunkSize = values["chunk-size"] ?? 4 << 20;
  if (size % blockSize !== 0) {
    const near = Math.ceil(size / blockSize) * blockSize;
    throw usageError("--size", `${size} is not whole blocks of ${blockSize}`, `${near} is`);
  }
  return await inStore(async () => {
    await using store = await openStore(url, { create: true });
    await createVolume(store, name, { size, blockSize, chunkSize }, MACHINE);
    return EXIT_OK;
  });
}
