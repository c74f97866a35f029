/**
 * What a journal that is given up still tells of what is lost with it.
 *
 * @module
 */

import type { File, Files } from "../../files/port.ts";
import { isUblkError } from "../../uapi/error.ts";
import type { JournalEnd } from "./end.ts";
import { segmentPaths } from "./files.ts";
import type { JournalIdentity } from "./identity.ts";
import { scanJournal } from "./scan.ts";

/**
 * Bytes of data in all batches up to the last sound one that continues the store's state. Behind that
 * there may be more, which a damaged journal hides.
 *
 * @param from Where the store ends.
 */
export function writtenIn(
  files: Files,
  folder: string,
  { volume, journal, blockSize, size }: JournalIdentity,
  from: JournalEnd,
): number {
  let { written } = from;
  using stack = new DisposableStack();
  try {
    const opened = segmentPaths(files, folder).map((path): File => stack.use(files.open(path)));
    const buffer = new Uint8Array(size);
    const scan = scanJournal({
      ...{ files: opened, volume, journal, blockSize, size, from, buffer },
      words: `journal ${folder}`,
    });
    for (const { header } of scan) ({ written } = header);
  } catch (error) {
    // Whoever gives a journal up must not be stopped by it, in whatever state it is.
    if (!isUblkError(error)) throw error;
  }
  return written;
}
