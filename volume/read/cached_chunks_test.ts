import { assertEquals, assertRejects } from "@std/assert";
import type { StoreCall } from "../../store/faults.ts";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { UblkError } from "../../uapi/error.ts";
import { Volume } from "../volume.ts";

const BLOCK = 4096;

Deno.test("a read whose chunk cannot be fetched + is tried again if that may pass, else fails", async () => {
  await inFolder(async ({ journal, journalSize }) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "1M" });
    {
      await using writer = await Volume.open("v", { store, journal, journalSize });
      await writer.write(new Uint8Array(BLOCK).fill(7), 0);
    }
    const isChunk = ({ name, object }: StoreCall) => name === "get" && object.includes("/chunks/");
    let calls = 0;
    await using volume = await Volume.open("v", { store, readOnly: true });
    const block = new Uint8Array(BLOCK);
    store.faults = (call) => isChunk(call) && ++calls > 0 ? "full" : undefined;
    await assertRejects(() => volume.read(block, 0), UblkError, "EIO");
    assertEquals(calls, 1);
    calls = 0;
    store.faults = (call) => isChunk(call) && ++calls <= 4 ? "unavailable" : undefined;
    await volume.read(block, 0);
    // The chunk's table comes by a call of its own.
    assertEquals([block[0], calls], [7, 6]);
  });
});
