import { assert, assertEquals, assertRejects } from "@std/assert";
import { UblkError } from "../uapi/error.ts";
import { libc } from "../uring/libc.ts";
import { Volume } from "./volume.ts";

// Opened before any test: none leaks it.
libc();

const BLOCK = 4096;

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "ublk-volume-" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function filled(byte: number, blocks = 1): Uint8Array<ArrayBuffer> {
  return new Uint8Array(blocks * BLOCK).fill(byte);
}

async function byteAt(volume: Volume, offset: number): Promise<number> {
  const bytes = filled(0xee);
  await volume.read(bytes, offset);
  assert(bytes.every((byte) => byte === bytes[0]), "the block is whole");
  return bytes[0];
}

Deno.test("Volume + finds after opening again what was written, flushed, synced, trimmed", async () => {
  await inFolder(async (folder) => {
    const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
    await Volume.create("v", { store: options.store, size: "64M" });
    {
      await using volume = await Volume.open("v", options);
      assertEquals([volume.size, volume.blockSize, volume.readOnly], [64 << 20, 4096, false]);
      await volume.write(filled(1, 300), 0);
      await volume.flush();
      await volume.write(filled(2, 2), 8 * BLOCK, { fua: true });
      await volume.sync();
      await volume.write(filled(3), BLOCK);
      await volume.trim(2 * BLOCK, BLOCK);
      await volume.writeZeroes(3 * BLOCK, BLOCK);
      assertEquals(await byteAt(volume, 0), 1);
      assertEquals(await byteAt(volume, 299 * BLOCK), 1);
    }
    await using volume = await Volume.open("v", options);
    const found = [];
    for (const nth of [0, 1, 2, 3, 4, 7, 8, 9, 10, 299, 300]) {
      found.push(await byteAt(volume, nth * BLOCK));
    }
    assertEquals(found, [1, 3, 0, 0, 1, 1, 2, 2, 1, 1, 0]);
    const whole = new Uint8Array(300 * BLOCK);
    await volume.read(whole, 0);
    assertEquals(whole[299 * BLOCK], 1);
  });
});

Deno.test("Volume + refuses what is not whole blocks, and anything once it is closed", async () => {
  await inFolder(async (folder) => {
    const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
    await Volume.create("v", { store: options.store, size: "1M" });
    const volume = await Volume.open("v", options);
    for (
      const wrong of [
        () => volume.write(new Uint8Array(100), 0),
        () => volume.read(filled(0), 512),
        () => volume.trim(0, 1),
        () => volume.read(filled(0), 1 << 20),
        () => volume.writeZeroes(-BLOCK, BLOCK),
      ]
    ) {
      const error = await assertRejects(wrong, UblkError);
      assertEquals([error.code, error.message.includes("\n")], ["INVALID_ARGUMENT", false]);
    }
    await volume.close();
    assertEquals((await assertRejects(() => volume.flush(), UblkError)).code, "ABORTED");
    await volume.close();
  });
});
