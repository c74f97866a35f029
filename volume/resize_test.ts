import { assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { checkVolume } from "./check.ts";
import { resizeVolume } from "./resize.ts";
import { Volume } from "./volume.ts";

const MIB = 1 << 20;
const BLOCK = 4096;

Deno.test("resizeVolume grows and shrinks a volume, and never cuts off data", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "4M" });
    const write = async (nth: number, byte: number) => {
      await using volume = await Volume.open("v", { store, journal, journalSize });
      await volume.write(new Uint8Array(BLOCK).fill(byte), nth * BLOCK);
    };
    const read = async (nth: number) => {
      await using volume = await Volume.open("v", { store, readOnly: true });
      const bytes = new Uint8Array(BLOCK).fill(0xee);
      await volume.read(bytes, nth * BLOCK);
      return [volume.size, bytes[0]];
    };
    await write(1, 1);
    await resizeVolume(store, "v", 8 * MIB);
    await write(2000, 2);
    assertEquals(await read(2000), [8 * MIB, 2]);
    await assertRejects(() => resizeVolume(store, "v", 4 * MIB), UblkError, "data beyond");
    await assertRejects(() => resizeVolume(store, "v", 4 * MIB + 1), UblkError, "whole blocks");
    await assertRejects(() => resizeVolume(store, "v", 0), UblkError, "whole blocks");
    assertEquals(await read(2000), [8 * MIB, 2]);
    {
      await using volume = await Volume.open("v", { store, journal, journalSize });
      await assertRejects(() => resizeVolume(store, "v", 16 * MIB), UblkError, "update_size");
      await volume.trim(2000 * BLOCK, BLOCK);
    }
    await resizeVolume(store, "v", 4 * MIB);
    assertEquals(await read(1), [4 * MIB, 1]);
    // Older runs of the map speak of what was cut off, which is no fault.
    assertEquals((await checkVolume(store, "v")).findings, []);
    // The blocks that were cut off do not come back.
    await resizeVolume(store, "v", 8 * MIB);
    assertEquals(await read(2000), [8 * MIB, 0]);
    assertEquals((await checkVolume(store, "v")).findings, []);
  });
});
