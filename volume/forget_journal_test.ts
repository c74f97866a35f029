import { assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { forgetJournal } from "./forget_journal.ts";
import { removeVolume } from "./list.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;

Deno.test("forgetJournal + keeps what the store lacks, and gives back the rest", async () => {
  await inFolder(async (at) => {
    const forget = (journal = at.journal) => forgetJournal(at.store, "v", journal);
    const files = (journal = at.journal) =>
      [...Deno.readDirSync(`${journal}/v`)].filter(({ name }) => name !== "lock").length;
    await Volume.create("v", { store: at.store, size: "1M" });
    assertEquals(await forget(), true);
    {
      await using volume = await Volume.open("v", at);
      await volume.write(new Uint8Array(BLOCK).fill(1), 0);
      const { code } = await assertRejects(() => forget(), UblkError);
      assertEquals(code, "VOLUME_BUSY");
    }
    assertEquals([await forget(), files()], [true, 0]);
    assertEquals(await forget(), true);

    // Taken by another one: the first journal is of no use, the second is.
    const other = `${at.folder}/other`;
    const dead = await Volume.open("v", at);
    await dead.write(new Uint8Array(BLOCK).fill(2), 0);
    const taker = await Volume.open("v", { ...at, journal: other, withoutJournal: true });
    await dead.close().catch(() => {});
    assertEquals([await forget(), files()], [true, 0]);
    await taker.close();

    // Of a volume that is gone, although there is another one of its name.
    {
      await using _volume = await Volume.open("v", at);
    }
    await removeVolume(at.store, "v");
    await Volume.create("v", { store: at.store, size: "1M" });
    assertEquals([await forget(), files()], [true, 0]);
    await using _again = await Volume.open("v", at);
  });
});

Deno.test("forgetJournal + a journal whose server died + stays", async () => {
  await inFolder(async (at) => {
    await Volume.create("v", { store: at.store, size: "1M" });
    const copy = `${at.folder}/copy`;
    {
      await using volume = await Volume.open("v", at);
      await volume.write(new Uint8Array(BLOCK).fill(3), 0);
      // As a power cut leaves both.
      await run("cp", "-r", at.journal, `${copy}-journal`);
      await run("cp", "-r", at.store, `${copy}-store`);
    }
    const [store, journal] = [`${copy}-store`, `${copy}-journal`];
    assertEquals(await forgetJournal(store, "v", journal), false);
    await using volume = await Volume.open("v", { ...at, store, journal });
    const block = new Uint8Array(BLOCK);
    await volume.read(block, 0);
    assertEquals(block[0], 3);
  });
});

async function run(program: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(program, { args }).output();
  assertEquals(success, true);
}
