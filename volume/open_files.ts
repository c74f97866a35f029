/**
 * The descriptors that a volume may need. Deno panics if it runs out of them, so servers of volumes look
 * before they open one.
 *
 * @module
 */

import { DEFAULT_BLOCK_SIZE, DEFAULT_JOURNAL_SIZE, journalShape } from "./shape.ts";
import { ENGINE_SIZES } from "./sizes.ts";

/** Besides the journal and chunks: locks, eventfds, pollers, and connections to the store. */
const OTHER_FILES = 64;

/**
 * The most descriptors that a volume may need.
 *
 * @param journalBytes Bytes of its journal. Default: those of a journal that nobody has given a size.
 * @throws {UblkError} `INVALID_ARGUMENT` if no journal has that size.
 */
export function volumeFiles(journalBytes: number = DEFAULT_JOURNAL_SIZE): number {
  const { segments } = journalShape(journalBytes, ENGINE_SIZES, DEFAULT_BLOCK_SIZE);
  return segments + ENGINE_SIZES.openChunks + OTHER_FILES;
}
