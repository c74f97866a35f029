import { assertEquals } from "@std/assert";
import { engineMemory } from "../../disk/engine_memory.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Batch } from "./batch.ts";
import { batchMemoryBytes } from "./batch_layout.ts";
import { Durability } from "./durability.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const BLOCK = 4096;
const DATA = 1 << 20;
const END = { position: 8192, next: 65536, sequence: 7, chain: 0, written: 0 };

/** A journal whose batches of 100 bytes come one after the other. */
class Journal implements Disposable {
  readonly durability: Durability;
  readonly #memory = engineMemory(batchMemoryBytes(DATA, BLOCK));
  #position = END.next;
  #sequence = END.sequence;

  constructor(isCheap = true) {
    this.durability = new Durability(END, isCheap);
  }

  /** Closes a batch. */
  close({ fua = false, bytes = 100, begins = this.#sequence === END.sequence } = {}): Batch {
    const batch = new Batch(this.#memory, DATA, BLOCK, 1);
    batch.bytes = bytes;
    batch.end = this.#position += bytes;
    batch.sequence = ++this.#sequence;
    batch.beginsSegment = begins;
    batch.isDurable = this.durability.closed(batch, fua);
    return batch;
  }

  /** The batch is in the journal. @returns The sequence of the last durable one. */
  complete(batch: Batch, stored = 0): number {
    this.durability.completed(batch, stored);
    return this.durability.sequence;
  }

  [Symbol.dispose]() {
    this.#memory[Symbol.dispose]();
  }
}

/** Whether batches are written durably, of a client that does this: "w" closes one, "f" flushes. */
function written(journal: Journal, work: string): string {
  let told = "";
  for (const act of work) {
    if (act === "f") journal.durability.flush();
    else told += journal.close({ fua: act === "u" }).isDurable ? "d" : "p";
  }
  return told;
}

Deno.test("Durability + a client that flushes after every batch + they are written durably", () => {
  const cases = [
    ["wwww", "pppp"],
    ["wfwfwfwf", "pddd"],
    ["wfwwwfwfwf", "pdpppd"],
    ["wwfwwfwwf", "pppppp"],
    ["uwuwfu", "dpdpd"],
    ["wfuwfuwf", "pdddd"],
  ];
  for (const [work, expected] of cases) {
    using journal = new Journal();
    assertEquals([work, written(journal, work)], [work, expected]);
    using other = new Journal(false);
    assertEquals(written(other, work), expected.replaceAll("d", "p"));
  }
});

Deno.test("Durability + a large batch + a sync is to make it durable", () => {
  using journal = new Journal();
  assertEquals(journal.close({ fua: true, bytes: 256 * 1024 }).isDurable, true);
  assertEquals(journal.close({ fua: true, bytes: 256 * 1024 + 4096 }).isDurable, false);
});

Deno.test("Durability + a durable batch behind a plain one + counts once that is durable", () => {
  for (const how of ["sync", "store"] as const) {
    using journal = new Journal();
    const { durability } = journal;
    assertEquals([durability.position, durability.sequence], [END.position, 7]);
    const first = journal.close({ fua: true });
    assertEquals(journal.complete(first), 8);
    const plain = journal.close();
    assertEquals([plain.isDurable, journal.complete(plain)], [false, 8]);
    const second = journal.close({ fua: true });
    assertEquals(journal.complete(second), 8);
    assertEquals(durability.position, first.end);
    if (how === "sync") durability.synced(plain.end, plain.sequence, 0);
    else assertEquals(journal.complete(journal.close({ fua: true }), plain.end), 11);
    assertEquals(durability.sequence, how === "sync" ? 10 : 11);
    assertEquals(journal.complete(journal.close({ fua: true })), how === "sync" ? 11 : 12);
  }
});

Deno.test("Durability + a sync that began before a plain batch + does not cover it", () => {
  using journal = new Journal();
  const { durability } = journal;
  const [first, second] = [journal.close(), journal.close()];
  journal.complete(first);
  journal.complete(second);
  durability.synced(first.end, first.sequence, 0);
  assertEquals([durability.position, durability.sequence], [first.end, 8]);
  // Nor does an older one take back what a newer one has covered.
  durability.synced(second.end, second.sequence, 0);
  durability.synced(first.end, first.sequence, 0);
  assertEquals([durability.position, durability.sequence], [second.end, 9]);
});

Deno.test("Durability + a segment whose header was written plainly + hides durable batches", () => {
  using journal = new Journal();
  const { durability } = journal;
  const plain = journal.close();
  journal.complete(plain);
  // The store has the batch, and not the header in front of it.
  const hidden = journal.close({ fua: true });
  assertEquals(journal.complete(hidden, plain.end), END.sequence);
  durability.stored(plain.end, plain.sequence, plain.end);
  assertEquals(journal.complete(journal.close({ fua: true }), plain.end), plain.sequence);
  // A sync of what was there before does not cover the header of the next segment.
  const next = journal.close({ begins: true });
  journal.complete(next, hidden.end);
  durability.synced(hidden.end, hidden.sequence, hidden.end);
  const another = journal.close({ fua: true });
  assertEquals(journal.complete(another, next.end), hidden.sequence);
  durability.synced(another.end, another.sequence, next.end);
  const last = journal.close({ fua: true });
  assertEquals(journal.complete(last, next.end), last.sequence);
});

Deno.test("Durability + a segment that a durable batch has begun + hides none", () => {
  using journal = new Journal();
  journal.complete(journal.close());
  const first = journal.close({ fua: true, begins: true });
  // What is before it in the journal, the store has.
  assertEquals(journal.complete(first, first.end - first.bytes), first.sequence);
});
