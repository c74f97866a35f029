/**
 * Rules of the journal: when a write and a FLUSH are answered, and what counts after a crash.
 *
 * @module
 */

import type { BrokenRule } from "./rule.ts";

/** The list. */
export const JOURNAL_RULES: readonly BrokenRule[] = [
  {
    name: "a FLUSH is answered before the sync",
    file: "volume/journal/flushes.ts",
    text:
      "      this.#host.sync(fds[segment % fds.length], tokenOf(SYNC, segment % fds.length));\n    }",
    instead:
      "      this.#host.sync(fds[segment % fds.length], tokenOf(SYNC, segment % fds.length));\n    }\n    this.#answer();",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a write with FUA is answered like any other",
    file: "volume/journal/writer.ts",
    text: "if (requests.fua[request] !== 0) this.#flushes.add(request);\n        else requests",
    instead: "requests",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a sync covers what was written while it ran",
    file: "volume/journal/flushes.ts",
    text: "durability.synced(this.#syncPosition, this.#syncSequence, journal.trimmedPosition);",
    instead:
      "durability.synced(journal.completedPosition, journal.completedSequence, journal.trimmedPosition);",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "an fsync that failed is tried again, and that one succeeds",
    file: "volume/journal/flushes.ts",
    text: "if (result < 0) return this.#parts.onFailure(result);",
    instead: `if (result < 0) {
      for (const [nth, fd] of this.#parts.fds.entries()) {
        this.#syncs++;
        this.#host.sync(fd, tokenOf(SYNC, nth));
      }
      return;
    }`,
    foundBy: ["brokenFiles"],
    seeds: 200,
  },
  {
    name: "a write is answered although one before it is not in the journal",
    file: "volume/journal/writer.ts",
    text: "    batch.isWritten = true;\n",
    instead: `    batch.isWritten = true;
    for (let one = 0; one < batch.requestCount; one++) {
      const request = batch.requests[one];
      if (this.#parts.requests.fua[request] !== 0) this.#flushes.add(request);
      else this.#parts.requests.answer(request, 0);
    }
    batch.requestCount = 0;
`,
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a write that was cut short counts as whole",
    file: "volume/journal/writer.ts",
    text: "if (batch.writtenBytes < batch.bytes) {",
    instead: "if (false) {",
    foundBy: ["interruptions"],
    seeds: 200,
  },
  {
    name: "a damaged record is believed",
    file: "volume/journal/scan.ts",
    text: "return isSound(rest, header, blockSize) ? header : undefined;",
    instead: "return header;",
    foundBy: ["crashes", "flips"],
    seeds: 200,
  },
  {
    name: "the journal is read on behind a gap",
    file: "volume/journal/scan.ts",
    text: `        if (batch === undefined) break;
        if (!isNextBatch(batch, sequence, chain, epoch)) break;`,
    instead: `        if (batch === undefined) {
          position += SEGMENT_HEADER_BYTES;
          if (position - start + SEGMENT_HEADER_BYTES > size) break;
          continue;
        }
        if (batch.sequence <= sequence || batch.epoch < epoch) break;`,
    foundBy: ["crashes"],
    seeds: 1000,
  },
  {
    name: "flushed records that are gone are not missed",
    file: "volume/journal/scan.ts",
    text: "  checkNothingIsMissing(parts, reader, suspects, ours, sequence, end);\n",
    instead: "",
    foundBy: ["flips"],
    seeds: 200,
  },
  {
    name: "the names of the journal's files are not durable",
    file: "volume/journal/files.ts",
    text:
      "    file.sync(false);\n  }\n  files.syncFolder(folder);\n}\n\n/** Makes the files of a journal durable",
    instead: "    file.sync(false);\n  }\n}\n\n/** Makes the files of a journal durable",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a file that is used again keeps the header of its old segment",
    file: "volume/journal/writer.ts",
    text: "    const header = begins\n      ?",
    instead: "    const header = begins && segment < fds.length\n      ?",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a file is used again before the store has what is in it",
    file: "volume/journal/writer.ts",
    text: "return (before + 1) * this.#size <= this.trimmedPosition;",
    instead: "return (before + 1) * this.#size <= this.completedPosition;",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "what a killed server has left is believed before it is durable",
    file: "volume/journal/recover.ts",
    text: "    file.sync(true);\n    file.dropCache();\n",
    instead: "",
    foundBy: ["crashes"],
    seeds: 200,
  },
  {
    name: "a new journal has the records of an old one",
    file: "volume/take.ts",
    text: "  removeSegments(files, folder);\n",
    instead: "",
    foundBy: ["lostJournals"],
    seeds: 200,
  },
  {
    name: "any journal continues a volume",
    file: "volume/take.ts",
    text: "head.journal !== NO_UUID && found?.journal === head.journal ? found : undefined",
    instead: "head.journal !== NO_UUID ? found : undefined",
    foundBy: ["lostJournals"],
    seeds: 200,
  },
];
