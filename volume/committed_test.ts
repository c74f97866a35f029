import { assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../store/faulty.ts";
import { MemoryStore } from "../store/memory.ts";
import { StoreError } from "../store/store.ts";
import { briefClaim, Committed } from "./committed.ts";
import { stateOf } from "./state.ts";
import { createVolume } from "./create.ts";
import { NO_UUID } from "./format/record.ts";
import { ObjectNames } from "./names.ts";
import { MACHINE } from "./seam.ts";

Deno.test("Committed.commit + a head that may come later + nothing is committed from the state before", async () => {
  for (const fault of ["unavailable", "late", "lost answer"] as const) {
    const store = new FaultyStore(new MemoryStore());
    await createVolume(store, "v", { size: 8192, blockSize: 4096, chunkSize: 65536 }, MACHINE);
    const committed = await Committed.claim(
      store,
      "v",
      briefClaim(MACHINE, "a test"),
      () => NO_UUID,
    );
    store.faults = ({ object }) => object === "v/head" ? fault : undefined;
    await assertRejects(() => committed.commit({ written: 5, nextChunk: 3 }), StoreError);
    assertEquals(committed.isDecided, true);
    store.faults = undefined;
    // Whoever has seen that head may have deleted what only the state before needs.
    await committed.commit({ size: 4096 });
    const { manifest } = await stateOf(store, new ObjectNames("v"));
    assertEquals([manifest.written, manifest.nextChunk, manifest.size], [5, 3, 4096], fault);
    await store.arrive();
    assertEquals((await stateOf(store, new ObjectNames("v"))).manifest, manifest, fault);
    await committed.release();
  }
});
