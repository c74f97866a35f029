import { assert, assertEquals, assertRejects } from "@std/assert";
import { open, volume as disk } from "../backends/volume.ts";
import { inFolder } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { COMMIT_MS } from "./drain/policy.ts";
import { Volume } from "./volume.ts";
import { waitForStore } from "./wait_for_store.ts";

const BLOCK = 4096;

Deno.test("waitForStore waits until the store has what the journal had", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "4M" });
    const error = await assertRejects(() => waitForStore(store, "w", { journal }), UblkError);
    assertEquals(error.code, "VOLUME_NOT_FOUND");
    // Nobody has it attached: the store has everything.
    await waitForStore(store, "v", { journal });
    const served = await open(disk("v", { store, journal, journalSize }).options);
    const start = performance.now();
    await served.writeAt(new Uint8Array(BLOCK).fill(5), BLOCK, { fua: false });
    const elsewhere = await assertRejects(
      () => waitForStore(store, "v", { journal: `${journal}/other` }),
      UblkError,
    );
    assertEquals(elsewhere.code, "VOLUME_JOURNAL");
    await waitForStore(store, "v", { journal });
    // The server was asked: by itself it would have waited for more, from the write on.
    assert(performance.now() - start < 0.9 * COMMIT_MS, "nobody asked the server");
    await using volume = await Volume.open("v", { store, readOnly: true });
    const block = new Uint8Array(BLOCK);
    await volume.read(block, BLOCK);
    assertEquals(block[0], 5);
    await served.close!();
  });
});
