import { assert, assertEquals } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { writeWhole } from "../../files/whole.ts";
import { MemoryStore } from "../../store/memory.ts";
import { inFolder, type VolumeFolders } from "../../tests/volumes/folders.ts";
import { copyVolume } from "../care/copy.ts";
import { CACHE_PAGE, encodeCacheHeader } from "../format/cache.ts";
import { removeVolume } from "../list.ts";
import { type OpenVolumeOptions, Volume } from "../volume.ts";
import { removeCache } from "./remove.ts";

const [OURS, OTHERS] = ["11".repeat(16), "22".repeat(16)];
const PATH = "/caches/v/cache";

function headerOf(volume: string): Uint8Array<ArrayBuffer> {
  return encodeCacheHeader({ volume, line: 65536, slots: 1, epoch: 1, manifest: 1 });
}

/** A machine with a file of 1 MiB that begins with these bytes. */
function withFile(bytes: Uint8Array<ArrayBuffer>, path = PATH): CrashableProcess {
  const files = new CrashableProcess(new CrashableMachine(1, 8 << 20));
  for (const folder of ["/caches", "/caches/v"]) files.makeFolder(folder);
  using file = files.open(path, { write: true, create: "new" });
  file.allocate("extend", 0, 1 << 20);
  writeWhole(file, bytes, 0);
  return files;
}

Deno.test("removeCache + one that is the volume's, or nobody's, or may be anybody's + goes", () => {
  const damaged = headerOf(OTHERS);
  damaged[50] ^= 1;
  for (const bytes of [headerOf(OURS), damaged, new Uint8Array(CACHE_PAGE)]) {
    const files = withFile(bytes);
    assertEquals(removeCache(files, PATH, { volume: OURS }), true);
    assertEquals(files.status(PATH), undefined);
    assertEquals(removeCache(files, PATH, { volume: OURS }), false);
  }
  const files = withFile(headerOf(OTHERS));
  assertEquals(removeCache(files, PATH), true);
  assertEquals(files.status(PATH), undefined);
});

Deno.test("removeCache + one that is used, or another volume's, or none + stays", () => {
  const files = withFile(headerOf(OTHERS));
  assertEquals(removeCache(files, PATH, { volume: OURS }), false);
  assertEquals(removeCache(files, PATH, { volume: OTHERS, copy: OURS }), false);
  assertEquals(files.status(PATH)?.bytes, 1 << 20);
  {
    using user = files.open(PATH, { write: true });
    assert(user.lock("exclusive"));
    assertEquals(removeCache(files, PATH), false);
  }
  assertEquals(removeCache(files, "/caches/v"), false);
  assertEquals(files.status("/caches/v")?.kind, "directory");
  assertEquals(removeCache(files, PATH, { volume: OTHERS }), true);
});

/** Volumes of a store that have their journals and caches in the folder of journals, or beside it. */
function optionsOf(
  { journal, journalSize }: VolumeFolders,
  store: MemoryStore,
  cacheDir?: string,
): OpenVolumeOptions {
  return { store, journal, journalSize, cache: "1M", ...cacheDir && { cacheDir } };
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

// Regression: the file kept all the room of the cache for ever.
Deno.test("removeVolume + its cache goes with its journal, wherever it is", async () => {
  await inFolder(async (at) => {
    const { journal } = at;
    for (const cacheDir of [undefined, `${at.folder}/caches`]) {
      const store = new MemoryStore();
      await Volume.create("v", { store, size: "1M" });
      await (await Volume.open("v", optionsOf(at, store, cacheDir))).close();
      const folder = `${cacheDir ?? journal}/v`;
      assert(filesIn(folder).includes("cache"));
      await removeVolume(store, "v", { journal, ...cacheDir && { cacheDir } });
      assertEquals(filesIn(folder), cacheDir === undefined ? ["lock"] : []);
    }
  });
});

Deno.test("removeVolume + a cache that a reader has, or that is of another copy + stays", async () => {
  await inFolder(async (at) => {
    const { journal } = at;
    const [store, copy] = [new MemoryStore(), new MemoryStore()];
    await Volume.create("v", { store, size: "1M" });
    await (await Volume.open("v", optionsOf(at, store))).close();
    await copyVolume(store, "v", copy);
    await removeVolume(copy, "v", { cacheDir: journal });
    assert(filesIn(`${journal}/v`).includes("cache"));
    await using _reader = await Volume.open("v", {
      ...{ store, readOnly: true, cache: "1M", cacheDir: journal },
    });
    await removeVolume(store, "v", { journal });
    assertEquals(filesIn(`${journal}/v`), ["cache", "lock"]);
  });
});
