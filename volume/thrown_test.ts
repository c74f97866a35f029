import { assertEquals, assertRejects } from "@std/assert";
import { open, volume as disk } from "../backends/volume.ts";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { JournalWriter } from "./journal/writer.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;

/** Runs with engines that throw once they have answered a write, before their batch ends. */
async function throwing(work: () => Promise<void>): Promise<void> {
  const { written } = JournalWriter.prototype;
  try {
    JournalWriter.prototype.written = function (nth, result) {
      written.call(this, nth, result);
      throw new RangeError("no memory for the map");
    };
    await work();
  } finally {
    JournalWriter.prototype.written = written;
  }
}

/** The first byte of a block, for whoever opens the volume with another journal. */
async function firstByte({ store, folder, journalSize }: VolumeFolders): Promise<number> {
  const elsewhere = { store, journal: `${folder}/elsewhere`, journalSize };
  await using volume = await Volume.open("v", elsewhere);
  const block = new Uint8Array(BLOCK);
  await volume.read(block, 0);
  return block[0];
}

Deno.test("Volume.close() + the engine has thrown after it answered a write + the store has that write", async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "4M" });
    const lines: string[] = [];
    const volume = await Volume.open("v", { ...at, report: (line) => lines.push(line) });
    const block = new Uint8Array(BLOCK).fill(5);
    await throwing(() => volume.write(block, 0));
    await assertRejects(() => volume.write(block, BLOCK), UblkError, "EIO");
    await volume.close();
    assertEquals(lines.length, 1);
    assertEquals(await firstByte(at), 5);
  });
});

Deno.test("the close of a volume's disk + the engine has thrown after it answered a write + the store has that write", async () => {
  await inFolder(async (at) => {
    const { store, journal, journalSize } = at;
    await Volume.create("v", { store, size: "4M" });
    const served = await open(disk("v", { store, journal, journalSize }).options);
    const block = new Uint8Array(BLOCK).fill(5);
    await throwing(() => Promise.resolve(served.writeAt(block, 0, { fua: false })));
    await assertRejects(() => Promise.resolve(served.writeAt(block, BLOCK, { fua: false })));
    await served.close!();
    assertEquals(await firstByte(at), 5);
  });
});
