import { assertEquals, assertThrows } from "@std/assert";
import { AssertionError } from "../../uapi/error.ts";
import { extentsIn, isSound, peekBatch } from "../format/journal.ts";
import { BATCH_HEADER_BYTES } from "../format/journal_layout.ts";
import { Batch } from "./batch.ts";
import { batchMemoryBytes } from "./batch_layout.ts";

const BLOCK = 512;

function emptyBatch(): Batch {
  const memory = { bytes: new Uint8Array(batchMemoryBytes(BLOCK, BLOCK)), address: 0 };
  return new Batch(memory, BLOCK, BLOCK, 1);
}

// Regression: the number of an extent's blocks has 32 bits in the journal, and was cut to them.
Deno.test("Batch.hole() + more blocks than an extent counts + is a mistake of the caller's", () => {
  for (const count of [2 ** 32, 2 ** 32 + 8, 2 ** 40]) {
    assertThrows(() => emptyBatch().hole(0, count), AssertionError, "an extent counts its blocks");
  }
});

Deno.test("Batch.hole() + so many blocks that no extent counts them together + is some extents", () => {
  const batch = emptyBatch();
  const most = 2 ** 32 - 1;
  assertEquals(batch.hole(0, most), true);
  assertEquals(batch.hole(most, 8), true);
  batch.close({ position: 4096, epoch: 1, sequence: 1, chain: 0, synced: 0, written: 0 });
  const bytes = batch.memory.bytes.slice(batch.start, batch.start + batch.bytes);
  const header = peekBatch(bytes, BLOCK)!;
  assertEquals(isSound(bytes, header, BLOCK), true);
  const extents = extentsIn(bytes.slice(BATCH_HEADER_BYTES), header.extents, 0, BLOCK);
  assertEquals(Array.from(extents, ({ block, count }) => [block, count]), [[0, most], [most, 8]]);
});
