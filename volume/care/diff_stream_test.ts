/**
 * Streams of changes.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { MemoryStore } from "../../store/memory.ts";
import { eachSeed } from "../../tests/seeds.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { Dice } from "../../uapi/dice.ts";
import { UblkError } from "../../uapi/error.ts";
import { resizeVolume } from "../resize.ts";
import { createSnapshot } from "../snapshots.ts";
import { Volume } from "../volume.ts";
import { diffStream, importDiff } from "./diff_stream.ts";

const BLOCK = 4096;
const BLOCKS = 2048;

/** Writes and trims at random. */
async function change(dice: Dice, volume: Volume): Promise<void> {
  for (let nth = dice.draw(12); nth >= 0; nth--) {
    const block = dice.draw(BLOCKS);
    const length = Math.min(BLOCKS - block, 1 + dice.draw(400)) * BLOCK;
    if (dice.draw(3) === 0) await volume.trim(block * BLOCK, length);
    else await volume.write(new Uint8Array(length).fill(1 + dice.draw(255)), block * BLOCK);
  }
  await volume.sync();
}

async function contents(volume: Volume): Promise<Uint8Array> {
  const bytes = new Uint8Array(BLOCKS * BLOCK);
  await volume.read(bytes, 0);
  return bytes;
}

async function bytesOf(stream: AsyncIterable<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
  return new Uint8Array(await new Blob(await Array.fromAsync(stream)).arrayBuffer());
}

Deno.test("diffStream, importDiff + a volume becomes the other one, and half a stream changes nothing", async (t) => {
  await eachSeed(t, 4, async (seed) => {
    const dice = new Dice(seed);
    await inFolder(async ({ folder, journal, journalSize }) => {
      const store = new MemoryStore();
      const options = { store, journal, journalSize };
      const shape = { store, size: BLOCKS * BLOCK, chunkSize: "256K" };
      for (const name of ["v", "w"]) await Volume.create(name, shape);
      await using volume = await Volume.open("v", options);
      await using other = await Volume.open("w", options);
      const path = `${folder}/diff`;
      await createSnapshot(store, "v", "empty", { journal, wait: true });
      for (let round = 1; round <= 3; round++) {
        await change(dice, volume);
        await createSnapshot(store, "v", `s${round}`, { journal, wait: true });
        const from = round === 1 ? "v@empty" : `v@s${round - 1}`;
        const bytes = await bytesOf(diffStream(store, from, `v@s${round}`));
        const before = await contents(other);
        Deno.writeFileSync(path, bytes.subarray(0, dice.draw(bytes.length)));
        const error = await assertRejects(() => importDiff(path, other), UblkError);
        assertEquals(error.code, "INVALID_ARGUMENT", error.message);
        assertEquals(await contents(other), before);
        Deno.writeFileSync(path, bytes);
        const told: number[] = [];
        const done = await importDiff(path, other, {
          onProgress: ({ doneBytes, totalBytes }) => void told.push(doneBytes / totalBytes),
        });
        assertEquals(told.toSorted((a, b) => a - b), told);
        assertEquals([told.at(-1), done.doneBytes], [1, done.totalBytes]);
        assertEquals(await contents(other), await contents(volume), `round ${round}`);
      }
    });
  });
});

Deno.test("importDiff + a larger disk, other blocks, no stream + is refused in one line", async () => {
  await inFolder(async ({ folder, journal, journalSize }) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: 1 << 20, blockSize: 512 });
    {
      await using volume = await Volume.open("v", { store, journal, journalSize });
      await createSnapshot(store, "v", "a", { journal, wait: true });
      await volume.write(new Uint8Array(512).fill(1), 512);
    }
    const path = `${folder}/diff`;
    Deno.writeFileSync(path, await bytesOf(diffStream(store, "v@a", "v")));
    const refusal = async (size: number) => {
      await Volume.create(`w${size}`, { store, size });
      await using volume = await Volume.open(`w${size}`, { store, journal, journalSize });
      const error = await assertRejects(() => importDiff(path, volume), UblkError);
      assert(!error.message.includes("\n"));
      return error.message;
    };
    assert((await refusal(1 << 20)).includes("no whole blocks of 4096 bytes"));
    assert((await refusal(1 << 19)).includes("give the volume another size"));
    Deno.writeTextFileSync(path, "something else");
    assert((await refusal(1 << 21)).includes("no stream of changes"));
    await resizeVolume(store, "v", 1 << 21);
    Deno.writeFileSync(path, await bytesOf(diffStream(store, "v@a", "v")));
    await using volume = await Volume.open("v", { store, journal, journalSize });
    assertEquals((await importDiff(path, volume)).copiedBytes, 512);
  });
});

Deno.test("importDiff + a disk that was smaller in between + has nothing of what it had lost", async () => {
  await inFolder(async ({ folder, journal, journalSize }) => {
    const store = new MemoryStore();
    const options = { store, journal, journalSize };
    for (const name of ["v", "w"]) await Volume.create(name, { store, size: 8 * BLOCK });
    for (const name of ["v", "w"]) {
      await using volume = await Volume.open(name, options);
      await volume.write(new Uint8Array(8 * BLOCK).fill(1), 0);
    }
    await createSnapshot(store, "v", "a");
    {
      await using volume = await Volume.open("v", options);
      await volume.trim(4 * BLOCK, 4 * BLOCK);
    }
    await resizeVolume(store, "v", 4 * BLOCK);
    await createSnapshot(store, "v", "b");
    await resizeVolume(store, "v", 8 * BLOCK);
    await createSnapshot(store, "v", "c");
    await using other = await Volume.open("w", options);
    for (const [from, to] of [["a", "b"], ["b", "c"]]) {
      Deno.writeFileSync(
        `${folder}/diff`,
        await bytesOf(diffStream(store, `v@${from}`, `v@${to}`)),
      );
      await importDiff(`${folder}/diff`, other);
    }
    const found = new Uint8Array(8 * BLOCK);
    await other.read(found, 0);
    assertEquals(found, new Uint8Array(8 * BLOCK).fill(1, 0, 4 * BLOCK));
  });
});
