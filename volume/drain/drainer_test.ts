import { assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { StoreError } from "../../store/store.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { loadMaps } from "../attach.ts";
import { briefClaim, Committed } from "../committed.ts";
import { AT, VolumeCounters } from "../counters.ts";
import { MACHINE } from "../seam.ts";
import { Moves } from "../space/moves.ts";
import { Volume } from "../volume.ts";
import { Drainer } from "./drainer.ts";
import type { JournalSource } from "./source.ts";

const BLOCK = 4096;

/** Calls with a drainer of a volume that has three blocks, and the moves of them. */
async function withMoves(
  work: (parts: {
    store: FaultyStore;
    committed: Committed;
    counters: VolumeCounters;
    drainer: Drainer;
    moves: Moves;
  }) => Promise<void>,
): Promise<void> {
  await inFolder(async (at) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "1M" });
    {
      await using volume = await Volume.open("v", { ...at, store });
      await volume.write(new Uint8Array(3 * BLOCK).fill(1), 0);
    }
    const committed = await Committed.claim(store, "v", briefClaim(MACHINE, "test"), MACHINE.uuid);
    const counters = new VolumeCounters();
    const drainer = new Drainer({
      ...{ committed, counters, written: () => 0, data: new Uint8Array(0) },
      source: undefined as never,
      marks: { cut: (wanted) => wanted, enter: () => Promise.resolve() },
    });
    const { names, manifest } = committed;
    const { chunks: map } = await loadMaps(committed);
    const moves = await Moves.read({ store, names, manifest, map, chunks: new Set([1]) });
    await work({ store, committed, counters, drainer, moves });
  });
}

Deno.test("Drainer.move() + counts the data that it has moved", async () => {
  await withMoves(async ({ drainer, counters, moves }) => {
    await drainer.move(moves);
    assertEquals([counters.get(AT.movedBytes), counters.get(AT.commits)], [3 * BLOCK, 1]);
  });
});

Deno.test("Drainer + a move that was decided + is finished before there is another size", async () => {
  await withMoves(async ({ store, committed, drainer, moves }) => {
    store.faults = ({ name }) => name === "replace" ? "unavailable" : undefined;
    await assertRejects(() => drainer.move(moves), StoreError);
    assertEquals(drainer.owesCommit, true);
    store.faults = undefined;
    await assertRejects(() => drainer.resize(BLOCK * 16), Error, "the engine has all commits");
    const made = await drainer.finish();
    assertEquals([made!.extents.length, made!.end], [1, undefined]);
    assertEquals([drainer.owesCommit, await drainer.finish()], [false, undefined]);
    await drainer.resize(BLOCK * 16);
    assertEquals(committed.manifest.size, BLOCK * 16);
  });
});

Deno.test("Drainer.commit() + the journal has no batch before a position that was published + fails", async () => {
  await withMoves(async ({ committed }) => {
    const { position, sequence, chain, written } = committed.manifest;
    const end = { position, sequence, chain, written };
    const drainer = new Drainer({
      ...{ committed, written: () => 0, data: new Uint8Array(0) },
      source: { end, refresh() {}, rewind() {}, next: () => undefined } as unknown as JournalSource,
      marks: { cut: (wanted) => wanted, enter: () => Promise.resolve() },
    });
    assertEquals(await drainer.commit(position, 0), undefined);
    // Whoever believed that there was nothing would leave the volume in order without it.
    const commit = () => drainer.commit(position + BLOCK, 0);
    await assertRejects(commit, Error, "the journal has what was published");
  });
});
