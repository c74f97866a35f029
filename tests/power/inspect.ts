/**
 * Looks at a volume after a power cut: it opens, has what was promised and a prefix of the rest, and
 * is sound.
 *
 * @module
 */

import { isUblkError } from "../../uapi/error.ts";
import { checkVolume } from "../../volume/check.ts";
import { Volume } from "../../volume/volume.ts";
import { BrokenPromise, type Ending } from "../volumes/history.ts";
import { JOURNAL_SIZE, type LoadPlace, NAME, SIZES, withKey } from "./load.ts";
import type { Expected, Recording } from "./recording.ts";
import { BLOCK, idsOf } from "./stamps.ts";

/** Inspects the volume of a load, if its last mark before the power went was a certain one. */
export async function inspect(
  place: LoadPlace,
  recording: Recording,
  mark: number,
): Promise<void> {
  const { store, journal, key } = place;
  const expected = recording.at(mark);
  // As the store has it: everything that was synced, without the journal.
  try {
    await using volume = await Volume.open(NAME, { store, key, readOnly: true });
    await compare(volume, expected, "store");
  } catch (error) {
    if (!isUblkError(error) || error.code !== "VOLUME_NOT_FOUND" || expected.isCreated) throw error;
    return;
  }
  const { findings } = await withKey(place, (opened) => checkVolume(opened, NAME, { journal }));
  if (findings.length > 0) throw new BrokenPromise(`it is not sound: ${JSON.stringify(findings)}`);
  {
    await using volume = await Volume.open(NAME, {
      ...{ store, journal, key, journalSize: JOURNAL_SIZE, sizes: SIZES },
    });
    await compare(volume, recording.at(mark), "power");
    // It takes writes again; and as it is closed, the store takes all.
    await volume.write(new Uint8Array(BLOCK), 0);
  }
}

async function compare(volume: Volume, expected: Expected, ending: Ending): Promise<void> {
  const bytes = new Uint8Array(volume.size).fill(0xee);
  await volume.read(bytes, 0);
  expected.history.check(idsOf(bytes), ending);
}
