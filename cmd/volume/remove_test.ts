import { assert, assertEquals } from "@std/assert";
import { inFolder } from "../../tests/volumes/folders.ts";
import { Volume } from "../../volume/volume.ts";

const root = new URL("../..", import.meta.url);

async function remove(...args: string[]): Promise<void> {
  const line = ["run", "-A", "cmd/ublk-volume.ts", "rm", ...args];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), { args: line, cwd: root })
    .output();
  assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
}

// Regression: the cache's file stayed, with all its room.
Deno.test("ublk-volume rm + the volume's cache goes too, also from a folder of its own", async () => {
  await inFolder(async ({ folder, store, journal, journalSize }) => {
    for (const own of [[], ["--cache-dir", `${folder}/caches`]]) {
      const cacheDir = own[1] ?? journal;
      await Volume.create("v", { store, size: "1M" });
      await (await Volume.open("v", { store, journal, journalSize, cache: "1M", cacheDir }))
        .close();
      const files = () => [...Deno.readDirSync(`${cacheDir}/v`)].map(({ name }) => name);
      assert(files().includes("cache"));
      await remove("v", "--store", store, "--journal", journal, ...own);
      assertEquals(files(), own.length === 0 ? ["lock"] : []);
    }
  });
});
