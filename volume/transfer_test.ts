import { assert, assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../tests/volumes/folders.ts";
import { Dice } from "../uapi/dice.ts";
import { UblkError } from "../uapi/error.ts";
import { exportImage, importImage } from "./transfer.ts";
import { Volume } from "./volume.ts";

Deno.test("importImage, exportImage + an image comes out as it went in, without its zeroes", async () => {
  await inFolder(async (at) => {
    const dice = new Dice(1);
    const image = new Uint8Array(5_000_000);
    for (let block = 0; block * 4096 < image.length; block++) {
      if (block % 300 < 200) continue;
      crypto.getRandomValues(
        image.subarray(block * 4096, Math.min(image.length, (block + 1) * 4096)),
      );
    }
    const [path, back] = [`${at.folder}/image`, `${at.folder}/back`];
    await Deno.writeFile(path, image);
    await Volume.create("v", { store: at.store, size: "8M" });
    {
      await using volume = await Volume.open("v", at);
      // Data under zeroes of the image goes, and data beyond it stays.
      await volume.write(new Uint8Array(8192).fill(dice.draw(255) + 1), 8192);
      await volume.write(new Uint8Array(4096).fill(77), 6 << 20);
      const steps: number[] = [];
      const { copiedBytes } = await importImage(path, volume, {
        onProgress: ({ doneBytes, totalBytes }) => steps.push(doneBytes / totalBytes),
      });
      assertEquals([steps.length, Math.max(...steps)], [5, 1]);
      assert(copiedBytes > 1 << 20 && copiedBytes < 2 << 20);
    }
    await using volume = await Volume.open("v", at);
    const { copiedBytes, doneBytes } = await exportImage(volume, back);
    assert(copiedBytes < 2 << 20);
    assertEquals(doneBytes, 8 << 20);
    const expected = new Uint8Array(8 << 20);
    expected.set(image);
    expected.fill(77, 6 << 20, (6 << 20) + 4096);
    const found = await Deno.readFile(back);
    assertEquals(found.length, expected.length);
    assert(found.every((byte, at) => byte === expected[at]));
    assert((await Deno.stat(back)).blocks! * 512 < 3 << 20);
  });
});

Deno.test("importImage + refuses an image larger than the volume, and what has no length", async () => {
  await inFolder(async (at) => {
    await Deno.writeFile(`${at.folder}/image`, new Uint8Array(8193));
    await Volume.create("v", { store: at.store, size: 8192 });
    await using volume = await Volume.open("v", at);
    for (
      const [path, words] of [
        [`${at.folder}/image`, "it has 8 KiB"],
        [`${at.folder}/none`, "there is no such file; give"],
        [at.folder, "it is a directory; give"],
        ["/dev/zero", "it is a character device; give"],
      ]
    ) {
      const error = await assertRejects(() => importImage(path, volume), UblkError, words);
      assertEquals(error.code, "INVALID_ARGUMENT");
    }
  });
});
