/**
 * What the journal of a volume still has, for whoever is ready to go on without it.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { EIO } from "../../uapi/errno.ts";
import { isUblkError } from "../../uapi/error.ts";
import { readMarks } from "../marks/file.ts";
import { JournalOpener } from "../seal/journal.ts";
import type { VolumeKey } from "../seal/volume_key.ts";
import type { JournalEnd } from "./end.ts";
import { segmentPaths } from "./files.ts";
import type { JournalIdentity } from "./identity.ts";
import { scanJournal } from "./scan.ts";

/** What a journal still has. */
export interface JournalRemains {
  /**
   * Bytes of data in all batches up to the last sound one that continues the store's state. Behind
   * that there may be more, which a damaged journal hides.
   */
  readonly written: number;
  /** The volume can go on with it: everything in it that was durable can be read. */
  readonly isWhole: boolean;
}

/**
 * Reads a journal.
 *
 * @param from Where the store ends.
 * @param key The data key; undefined for a volume that is not encrypted.
 */
export function remainsOf(
  files: Files,
  folder: string,
  identity: JournalIdentity,
  from: JournalEnd,
  key: VolumeKey | undefined,
): JournalRemains {
  const { volume, journal, blockSize, size } = identity;
  const words = `journal ${folder}`;
  let { written, sequence } = from;
  using stack = new DisposableStack();
  try {
    const opened = segmentPaths(files, folder).map((path): File => stack.use(files.open(path)));
    const opener = new JournalOpener(key, identity, words);
    const scan = scanJournal({ files: opened, volume, journal, blockSize, size, from, words });
    for (const { header, bytes } of scan) {
      opener.open(bytes, header);
      ({ written, sequence } = header);
    }
    const last = readMarks(files, folder, identity).at(-1)?.sequence ?? 0;
    return { written, isWhole: opened.length === identity.files && last <= sequence };
  } catch (error) {
    // Whoever gives a journal up must not be stopped by what is wrong with it. That memory or descriptors
    // are short is nothing that is wrong with it.
    const isDamage = isUblkError(error) && (error.code === "VOLUME_DAMAGED" || error.errno === EIO);
    if (!isDamage) throw error;
    return { written, isWhole: false };
  }
}
