/**
 * Rules of reading: what comes from a disk is compared with its sum, and nothing old is read.
 *
 * @module
 */

import type { BrokenRule } from "./rule.ts";

/** The list. */
export const READ_RULES: readonly BrokenRule[] = [
  {
    name: "a block of a chunk is not compared with its sum",
    file: "volume/read/file_chunks.ts",
    text: "const unsound = firstUnsound(data, start, end, this.#blockSize, sums, nth);",
    instead: "const unsound = -1;",
    foundBy: ["flips"],
    seeds: 200,
  },
  {
    name: "a block of the journal is not compared with its sum",
    file: "volume/read/reader.ts",
    text: "const unsound = firstUnsound(data, start, end, blockSize, sums[file], nth, step);",
    instead: "const unsound = -1;",
    foundBy: ["flips"],
    seeds: 200,
  },
  {
    name: "a run of the map is not compared with its sum",
    file: "volume/format/record.ts",
    text: "  if (!hasRightSum(bytes)) {",
    instead: "  if (false) {",
    foundBy: ["flips"],
    seeds: 200,
  },
  {
    // Lines that are read as a whole are compared a second time, when they are copied.
    name: "a block from the cache is not compared with its sum",
    file: "volume/read/cached_chunks.ts",
    text: "return areSound(data, start, end, this.#parts.blockSize, sums, pieces.from[piece]);",
    instead: "return true;",
    foundBy: ["caches"],
    seeds: 200,
  },
  {
    name: "a line's memory has another line while it goes to the file",
    file: "volume/cache/memory.ts",
    text: "if (isKept && this.#parts.file?.write(key, this.#parts.memory, place) === true) return;",
    instead: "if (isKept) this.#parts.file?.write(key, this.#parts.memory, place);",
    foundBy: ["caches"],
    seeds: 200,
  },
  {
    name: "data is moved without a look at its sum",
    file: "volume/space/moves.ts",
    text: "if (block.length !== blockSize || sumOf(block) !== sums[one]) return one;",
    instead: "if (block.length !== blockSize) return one;",
    foundBy: ["brokenMoves"],
    seeds: 200,
  },
];
