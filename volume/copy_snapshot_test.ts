import { assertEquals, assertRejects } from "@std/assert";
import { MemoryStore } from "../store/memory.ts";
import { inFolder } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { copySnapshot } from "./copy_snapshot.ts";
import { removeVolume } from "./list.ts";
import { createSnapshot, listSnapshots, removeSnapshot } from "./snapshots.ts";
import { collectVolume } from "./space/collect_volume.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(call, UblkError)).code;
}

Deno.test("copySnapshot + a second name has the data, also once the first is gone", async () => {
  await inFolder(async (at) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: "1M" });
    {
      await using volume = await Volume.open("v", { ...at, store });
      await volume.write(new Uint8Array(BLOCK).fill(1), 0);
      await volume.sync();
      await createSnapshot(store, "v", "s");
      await copySnapshot(store, "v", "s", "t");
      await volume.write(new Uint8Array(BLOCK).fill(2), 0);
    }
    assertEquals(await codeOf(() => copySnapshot(store, "v", "s", "t")), "VOLUME_EXISTS");
    assertEquals(await codeOf(() => copySnapshot(store, "v", "no", "u")), "VOLUME_NOT_FOUND");
    assertEquals(await codeOf(() => copySnapshot(store, "w", "s", "u")), "VOLUME_NOT_FOUND");
    assertEquals(await codeOf(() => copySnapshot(store, "v", "s", "a@b")), "INVALID_ARGUMENT");
    await removeSnapshot(store, "v", "s");
    await collectVolume(store, "v");
    assertEquals((await listSnapshots(store, "v")).map(({ name }) => name), ["t"]);
    await using copy = await Volume.open("v@t", { store, readOnly: true });
    const block = new Uint8Array(BLOCK);
    await copy.read(block, 0);
    assertEquals(block[0], 1);
  });
});

Deno.test("removeVolume + with spareSnapshots + refuses as long as there is one", async () => {
  const store = new MemoryStore();
  await Volume.create("v", { store, size: "1M" });
  await createSnapshot(store, "v", "s");
  assertEquals(
    await codeOf(() => removeVolume(store, "v", { spareSnapshots: true })),
    "VOLUME_BUSY",
  );
  // Nothing of it has happened.
  assertEquals((await listSnapshots(store, "v")).map(({ name }) => name), ["s"]);
  await createSnapshot(store, "v", "t");
  for (const name of ["s", "t"]) await removeSnapshot(store, "v", name);
  await removeVolume(store, "v", { spareSnapshots: true });
  assertEquals(await codeOf(() => listSnapshots(store, "v")), "VOLUME_NOT_FOUND");
});
