/**
 * Whether the drain takes the batches that recovery takes, and no others.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { writeWhole } from "../../files/whole.ts";
import { SEGMENT_HEADER_BYTES } from "../format/journal_layout.ts";
import { Batch } from "../journal/batch.ts";
import { batchMemoryBytes } from "../journal/batch_layout.ts";
import type { JournalEnd } from "../journal/end.ts";
import { scanJournal } from "../journal/scan.ts";
import { JournalOpener } from "../seal/journal.ts";
import { JournalSource } from "./source.ts";

const BLOCK = 512;
const SIZE = 64 << 10;
const FILES = 4;
const IDENTITY = {
  volume: "00000000000040008000000000000001",
  journal: "00000000000040008000000000000002",
  blockSize: BLOCK,
  size: SIZE,
};
const WORDS = "journal /j";
const BEGINNING: JournalEnd = { position: 0, sequence: 0, chain: 0, written: 0 };

/** What of a batch reaches the disk. */
type Survives = "all" | "header of its segment" | "batch";

/** A journal whose batches are put where a test wants them. */
class Journal {
  readonly files = Array.from({ length: FILES }, (_, nth) => {
    const file = new CrashableProcess(this.machine).open(`/${nth}`, { write: true, create: "new" });
    file.truncate(SIZE);
    return file;
  });

  constructor(readonly machine = new CrashableMachine(1)) {}

  /** Appends a batch of one block to a segment's start, or behind a batch. */
  append(
    after: JournalEnd,
    epoch: number,
    segment?: number,
    survives: Survives = "all",
  ): JournalEnd {
    const memory = { bytes: new Uint8Array(batchMemoryBytes(BLOCK, BLOCK)), address: 0 };
    const batch = new Batch(memory, BLOCK, BLOCK, 1);
    batch.append(epoch, 1, new Uint8Array(BLOCK).fill(epoch), 0);
    const begins = segment !== undefined;
    const position = begins ? segment * SIZE + SEGMENT_HEADER_BYTES : after.position;
    const sequence = after.sequence + 1;
    const { chain, written } = after;
    const sum = batch.close(
      { position, epoch, sequence, chain, synced: 0, written },
      begins ? { ...IDENTITY, segment, epoch, sequence, chain } : undefined,
    );
    const bytes = memory.bytes.subarray(batch.start, batch.start + batch.bytes);
    const header = begins ? SEGMENT_HEADER_BYTES : 0;
    const from = survives === "batch" ? header : 0;
    const to = survives === "header of its segment" ? header : bytes.length;
    const nth = Math.floor(position / SIZE) % FILES;
    writeWhole(this.files[nth], bytes.slice(from, to), batch.position % SIZE + from);
    return { position: batch.end, sequence, chain: sum, written: written + BLOCK };
  }

  /** Positions and epochs of the batches that recovery takes. */
  recovered(from = BEGINNING): number[][] {
    const scan = scanJournal({ ...IDENTITY, files: this.files, from, words: WORDS });
    return Array.from(scan, ({ position, header }) => [position, header.epoch]);
  }

  /** Where the drain begins to read. */
  source(from = BEGINNING): JournalSource {
    return new JournalSource({
      ...{ files: this.files, blockSize: BLOCK, size: SIZE, from, words: WORDS },
      window: new Uint8Array(SIZE),
      opener: new JournalOpener(undefined, IDENTITY, WORDS),
    });
  }
}

/** Positions and epochs of the batches that the drain takes. */
function drained(source: JournalSource, until: number): number[][] {
  const found = [];
  for (let batch = source.next(until); batch !== undefined; batch = source.next(until)) {
    found.push([batch.position, batch.header.epoch]);
  }
  return found;
}

// Regression: the drain did not look at epochs. It took a batch of the first attachment that recovery had
// given up, because only the header that the second one wrote in front of it has survived; and found
// the volume damaged at the next batch, at each attachment.
Deno.test("JournalSource + a batch older than the header in front of it + is left out, as by recovery", () => {
  const journal = new Journal();
  const stored = journal.append(BEGINNING, 1, 0);
  const last = journal.append(stored, 1);
  journal.append(last, 1, 1, "batch");
  journal.append(last, 2, 1, "header of its segment");
  const end = journal.append(journal.append(last, 3, 2), 3);

  const recovered = journal.recovered();
  assertEquals(recovered.map(([, epoch]) => epoch), [1, 1, 3, 3]);
  assertEquals(drained(journal.source(), end.position), recovered);
  assertEquals(drained(journal.source(stored), end.position), recovered.slice(1));
  // The place where recovery ended, before anything was written there.
  assertEquals(drained(journal.source(last), last.position), []);
});

Deno.test("JournalSource + a batch older than the one before it + is left out, as by recovery", () => {
  const journal = new Journal();
  const first = journal.append(BEGINNING, 2, 0);
  journal.append(first, 1);
  const end = journal.append(first, 3, 1);

  const recovered = journal.recovered();
  assertEquals(recovered.map(([, epoch]) => epoch), [2, 3]);
  assertEquals(drained(journal.source(), end.position), recovered);
  // Mid-segment, the epoch is that of the batch before.
  const source = journal.source();
  source.next(end.position);
  assertEquals(drained(source, end.position), recovered.slice(1));
});

Deno.test("JournalSource + goes back to batches of an attachment before + takes them again", () => {
  const journal = new Journal();
  const first = journal.append(BEGINNING, 1, 0);
  const second = journal.append(first, 1);
  const end = journal.append(second, 2, 1);

  const source = journal.source();
  source.next(end.position);
  const before = source.end;
  const rest = drained(source, end.position);
  assertEquals(rest.map(([, epoch]) => epoch), [1, 2]);
  source.rewind(before);
  assertEquals(drained(source, end.position), rest);
});
