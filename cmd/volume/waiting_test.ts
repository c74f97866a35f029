import { assertEquals, assertStringIncludes } from "@std/assert";
import { DirectoryStore } from "../../store/directory.ts";
import { FaultyStore } from "../../store/faulty.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { createSnapshot } from "../../volume/snapshots.ts";
import { Volume } from "../../volume/volume.ts";

const root = new URL("../..", import.meta.url);
const BLOCK = 4096;

async function run(...args: string[]) {
  const line = ["run", "-A", "cmd/ublk-volume.ts", ...args];
  const command = new Deno.Command(Deno.execPath(), { args: line, cwd: root });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("export and diff + of a volume whose journal has more + have that too, or are refused", async () => {
  await inFolder(async ({ folder, store: path, journal, journalSize }) => {
    await using inside = await DirectoryStore.open(path, { create: true });
    const store = new FaultyStore(inside);
    await Volume.create("v", { store, size: 64 * BLOCK });
    await createSnapshot(store, "v", "s");
    const served = await Volume.open("v", { store, journal, journalSize, patienceMs: 0 });
    const write = (byte: number) => served.write(new Uint8Array(BLOCK).fill(byte), BLOCK);
    const image = `${folder}/image`;
    const places = (journals: string) => ["--store", path, "--journal", journals];
    const byte = async () => (await Deno.readFile(image))[BLOCK];
    await write(5);
    assertEquals((await run("export", "v", image, ...places(journal))).err, "");
    assertEquals(await byte(), 5);
    await write(6);
    const since = ["export", "v", image, "--since", "s"];
    assertEquals((await run(...since, ...places(journal))).err, "");
    assertEquals(await byte(), 6);
    await served.write(new Uint8Array(BLOCK).fill(6), 5 * BLOCK);
    const { out } = await run("diff", "v@s", "v", ...places(journal));
    const offsets = out.trim().split("\n").map((line) => JSON.parse(line).offset);
    assertEquals(offsets, [BLOCK, 5 * BLOCK]);
    // Its server dies before the store has this.
    store.faults = ({ name }) => name === "get" ? undefined : "unavailable";
    await write(7);
    await served.close().catch(() => {});
    const refused: [string, string][] = [
      [journal, "and no server brings it there; the store has it as of 2"],
      [`${folder}/other`, `its journal is not in ${folder}/other/v: `],
    ];
    for (const [journals, words] of refused) {
      for (const command of [["export", "v", `${folder}/none`], since, ["diff", "v@s", "v"]]) {
        const { code, err } = await run(...command, ...places(journals));
        assertStringIncludes(err, words);
        assertEquals(code, 1);
      }
    }
    // A snapshot is in the store.
    assertEquals((await run("export", "v@s", image, ...places(`${folder}/other`))).code, 0);
  });
});
