import { assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { StoreError } from "../../store/store.ts";
import { briefClaim, Committed } from "../committed.ts";
import { VolumeCounters } from "../counters.ts";
import { createVolume } from "../create.ts";
import { MACHINE } from "../seam.ts";
import { ChunkAdder } from "./add.ts";

const BLOCK = 4096;
const CHUNK = 64 << 10;

/** Blocks with numbers, one after the other. */
function blocks(count: number, byte: number) {
  return {
    *runs() {
      yield { block: 0, count, nth: 0 };
    },
    copy: (_nth: number, _count: number, target: Uint8Array) => void target.fill(byte),
  };
}

/** An adder over a store in which a test says which puts fail. */
async function adderOf() {
  const failing = new Set<string>();
  const puts: string[] = [];
  const inner = new MemoryStore();
  const store = new FaultyStore(inner, {
    pause: ({ name, object }, when) => {
      if (name !== "put" || when !== "before" || !object.includes("/chunks/")) return;
      puts.push(object.slice(-2));
      if (failing.has(object.slice(-2))) throw new StoreError("unavailable", "it is away");
    },
  });
  await createVolume(store, "v", { size: 64 << 20, blockSize: BLOCK, chunkSize: CHUNK }, MACHINE);
  const claim = briefClaim(MACHINE, "a test");
  const committed = await Committed.claim(store, "v", claim, () => "11".repeat(16));
  return { adder: new ChunkAdder(committed, new VolumeCounters()), failing, puts, inner };
}

Deno.test("ChunkAdder + an attempt that failed + the next puts only what is missing, where it was", async () => {
  const { adder, failing, puts } = await adderOf();
  failing.add("02");
  await assertRejects(() => adder.add(blocks(60, 1), 1, 5), StoreError);
  const there = puts.filter((number) => number !== "02");
  failing.clear();
  const before = puts.length;
  const { nextChunk } = await adder.add(blocks(60, 1), 1, 5);
  const again = puts.slice(before);
  assertEquals(again.filter((number) => there.includes(number)), []);
  assertEquals(nextChunk, 1 + new Set(puts).size);
});

Deno.test("ChunkAdder + other batches, or data that is moved + nothing is taken for theirs", async () => {
  for (const [first, last] of [[1, 6], [6, 5]]) {
    const { adder, failing, inner } = await adderOf();
    failing.add("02");
    await assertRejects(() => adder.add(blocks(60, 1), first, 5), StoreError);
    failing.clear();
    const { extents } = await adder.add(blocks(60, 2), first, last);
    for (let nth = 0; nth < extents.length; nth++) {
      const chunk = Math.floor(extents.places[nth] / 2 ** 17).toString(16).padStart(16, "0");
      const { bytes } = (await inner.get(`v/chunks/${chunk}`))!;
      assertEquals(bytes.at(-1), 2);
    }
  }
});
