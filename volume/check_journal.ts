/**
 * Checks the journal that continues a volume.
 *
 * @module
 */

import type { Files } from "../files/port.ts";
import { isUblkError } from "../uapi/error.ts";
import type { Counts } from "./findings.ts";
import { wholePages } from "./format/journal_layout.ts";
import type { Head } from "./format/head.ts";
import type { Manifest } from "./format/manifest.ts";
import { NO_UUID } from "./format/record.ts";
import { segmentPaths } from "./journal/files.ts";
import { readIdentity } from "./journal/identity.ts";
import { scanJournal } from "./journal/scan.ts";
import type { Maps } from "./maps.ts";
import { JournalOpener } from "./seal/journal.ts";
import type { VolumeKey } from "./seal/volume_key.ts";
import { endOf, lockFolder } from "./take.ts";

/** A journal to check. */
export interface JournalParts {
  /** Its folder. */
  readonly folder: string;
  /** The files of this machine. */
  readonly files: Files;
  /** The volume's head. */
  readonly head: Head;
  /** The manifest that it continues. */
  readonly manifest: Manifest;
  /** The disk. */
  readonly maps: Maps;
  /** Takes what is found. */
  readonly counts: Counts;
  /** The data key; undefined for a volume that is not encrypted. */
  readonly key: VolumeKey | undefined;
}

/**
 * Checks a journal.
 *
 * @returns The number of batches that the store does not have; undefined if there is no journal.
 * @throws {UblkError} `VOLUME_BUSY` if somebody is writing to it.
 */
export function checkJournal(parts: JournalParts): number | undefined {
  const { folder, files, head, counts } = parts;
  if (head.journal === NO_UUID) return undefined;
  if (files.status(folder) === undefined) {
    counts.findings.push({
      object: folder,
      words: "the journal that continues the volume is gone",
    });
    return undefined;
  }
  using _lock = lockFolder(files, folder);
  try {
    return readBatches(parts);
  } catch (error) {
    if (!isUblkError(error) || error.code !== "VOLUME_DAMAGED") throw error;
    counts.findings.push({ object: folder, words: error.reason ?? error.message });
    return undefined;
  }
}

function readBatches(parts: JournalParts): number {
  const { folder, files, head, manifest, maps, counts } = parts;
  const identity = readIdentity(files, folder);
  if (identity?.journal !== head.journal) {
    counts.findings.push({
      object: folder,
      words: "it is not the journal that continues the volume",
    });
    return 0;
  }
  using stack = new DisposableStack();
  const opened = segmentPaths(files, folder).map((path) => stack.use(files.open(path)));
  const { size, journal, blockSize, volume } = identity;
  let batches = 0;
  const words = `journal ${folder}`;
  const opener = new JournalOpener(parts.key, identity, words);
  const room = new Uint8Array(size);
  const scan = scanJournal({
    ...{ files: opened, volume, journal, blockSize, size, from: endOf(manifest) },
    words,
  });
  for (const { header, bytes, position } of scan) {
    batches++;
    counts.bytes += bytes.length;
    counts.blocks += header.dataBytes / blockSize;
    const opened = opener.open(bytes, header);
    const data = bytes.subarray(wholePages(header.headerBytes)).subarray(0, header.dataBytes);
    opener.copy(header, opened, data, room.subarray(0, data.length), 0);
    for (const { block, count } of opened.extents()) {
      if (block + count <= maps.blocks) continue;
      const words = `batch ${header.sequence} at position ${position} writes block ` +
        `${block + count - 1}, and the disk has ${maps.blocks}`;
      counts.findings.push({ object: folder, words });
    }
  }
  counts.objects += opened.length;
  return batches;
}
