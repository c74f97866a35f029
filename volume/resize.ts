/**
 * Gives a volume that nobody has attached another size.
 *
 * @module
 */

import { UblkError } from "../uapi/error.ts";
import { loadMaps } from "./attach.ts";
import { briefClaim, Committed } from "./committed.ts";
import { NO_UUID } from "./format/record.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { refusalOf } from "./size_refusal.ts";
import { type StoreLike, storeOf } from "./store_like.ts";

/**
 * Changes the size of the disk. What is added reads as zeroes.
 *
 * @param size In bytes: a multiple of the block size.
 * @throws {UblkError} `VOLUME_NOT_FOUND`; `VOLUME_BUSY` if it is attached, or was not detached in
 *   order; `INVALID_ARGUMENT` if the size is not possible, or data is beyond the new end.
 */
export async function resizeVolume(
  store: StoreLike,
  name: string,
  size: number,
  seam: Seam = MACHINE,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const opened = await storeOf(store, stack);
  const invalid = (reason: string, hint: string) =>
    new UblkError("INVALID_ARGUMENT", { operation: `resize ${name}`, reason, hint });
  const claim = briefClaim(seam, "a resize");
  const committed = await Committed.claim(opened, name, claim, (head, manifest) => {
    if (head.journal !== NO_UUID) {
      throw new UblkError("VOLUME_BUSY", {
        operation: `resize ${name}`,
        reason: `${head.host || "somebody"} has it attached, or has not detached it`,
        hint: "there, `ublk update_size` gives the disk another size",
      });
    }
    if (!(Number.isSafeInteger(size) && size > 0 && size % manifest.blockSize === 0)) {
      throw invalid(`${size} bytes are not whole blocks of ${manifest.blockSize}`, "round it up");
    }
    return NO_UUID;
  });
  try {
    const refusal = refusalOf(await loadMaps(committed), size / committed.manifest.blockSize);
    if (refusal !== undefined) throw invalid(refusal.reason, refusal.hint);
    await committed.commit({ size });
  } finally {
    await committed.release();
  }
}
