import { assertEquals, assertRejects } from "@std/assert";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { createSnapshot } from "../snapshots.ts";
import { Volume } from "../volume.ts";
import { diffStream } from "./diff_stream.ts";

const BLOCK = 4096;

Deno.test("ChunkData.read + a range that comes damaged twice + is read; one that always does is damaged", async () => {
  await inFolder(async ({ journal, journalSize }) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: 16 * BLOCK });
    await createSnapshot(store, "v", "s");
    {
      await using volume = await Volume.open("v", { store, journal, journalSize });
      await volume.write(new Uint8Array(16 * BLOCK).fill(5), 0);
    }
    const read = async () => {
      const parts = await Array.fromAsync(diffStream(store, "v@s", "v"));
      return new Uint8Array(await new Blob(parts).arrayBuffer());
    };
    const right = await read();
    // The first fetch is of whoever opens the store. The second one is the table's, which a flipped bit may
    // hit where nothing is.
    for (const [first, fault] of [[2, "flipped"], [3, "flipped"], [3, "short"]] as const) {
      let fetches = 0;
      store.faults = ({ name, object }) => {
        const isHit = name === "get" && object.startsWith("v/chunks/") &&
          ++fetches >= first && fetches < first + 2;
        return isHit ? fault : undefined;
      };
      assertEquals(await read(), right);
    }
    let fetches = 0;
    store.faults = ({ name, object }) =>
      name === "get" && object.startsWith("v/chunks/") && ++fetches > 2 ? "flipped" : undefined;
    assertEquals((await assertRejects(read, UblkError)).code, "VOLUME_DAMAGED");
    assertEquals(fetches, 5);
  });
});
