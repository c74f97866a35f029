import { assertEquals } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { loadMaps } from "../attach.ts";
import { briefClaim, Committed } from "../committed.ts";
import { AT, VolumeCounters } from "../counters.ts";
import { MACHINE } from "../seam.ts";
import { Moves } from "../space/moves.ts";
import { Volume } from "../volume.ts";
import { Drainer } from "./drainer.ts";

const BLOCK = 4096;

Deno.test("Drainer.move() + counts the data that it has moved", async () => {
  await inFolder(async (at) => {
    const store = new MemoryStore();
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
    });
    const { names, manifest } = committed;
    const { chunks: map } = await loadMaps(committed);
    const moves = await Moves.read({ store, names, manifest, map, chunks: new Set([1]) });
    await drainer.move(moves);
    assertEquals([counters.get(AT.movedBytes), counters.get(AT.commits)], [3 * BLOCK, 1]);
  });
});
