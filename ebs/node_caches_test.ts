/** The files of caches of volumes that are really mounted. */

import { assert, assertEquals } from "@std/assert";
import { realFiles } from "../files/real.ts";
import { Bed, MIB } from "../tests/ebs/bed.ts";
import { encodeCacheHeader } from "../volume/format/cache.ts";
import { Volume } from "../volume/volume.ts";
import type { EbsService } from "./service.ts";

const PATIENCE_MS = 60_000;
const DISK = { cache: "1M" };

const mount = (service: EbsService, volume: string, readOnly = false) =>
  service.mount({ volume, access: "unix", readOnly });

/** The volumes that have a file of a cache in a folder. */
function cachesIn(folder: string): string[] {
  return realFiles.list(folder).filter((name) =>
    realFiles.status(`${folder}/${name}/cache`) !== undefined
  );
}

async function until(isSo: () => boolean): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!isSo()) {
    assert(performance.now() < endMs, "it does not come");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Regression: each volume that had been mounted kept a file with all the room of its cache, until the
// disk was full.
Deno.test("a node's caches + go with their volumes, whoever had them", async () => {
  await using bed = await Bed.make();
  for (const cacheDir of [undefined, `${bed.folder}/caches`]) {
    const node = bed.node("one", { disk: { ...DISK, ...cacheDir && { cacheDir } } });
    const folder = cacheDir ?? `${bed.folder}/one`;
    for (const id of ["a", "b", "c"]) await node.create({ id, bytes: 4 * MIB });
    for (const id of ["a", "b"]) await mount(node, id);
    await mount(node, "c", true);
    assertEquals(cachesIn(folder), ["a", "b", "c"]);
    await node.unmount("a");
    assertEquals(cachesIn(folder), ["b", "c"]);
    await node.delete("b", true);
    assertEquals(cachesIn(folder), ["c"]);
    await node.unmount("c");
    assertEquals(cachesIn(folder), []);
    for (const id of ["a", "c"]) await node.delete(id);
    await node.end();
  }
});

Deno.test("a node's caches + a service that starts again + has those of what was mounted, and no others", async () => {
  await using bed = await Bed.make();
  const folder = `${bed.folder}/one`;
  const before = bed.node("one", { disk: DISK });
  for (const id of ["a", "b"]) {
    await before.create({ id, bytes: 4 * MIB });
    await mount(before, id);
  }
  await before.end();
  // The first is one of a volume of the store that was left by a node which did not remove it.
  realFiles.remove(`${folder}/.ebs/mounts/a.json`);
  // A volume that was deleted; others that are none of the service's; and what is no cache.
  const left = (name: string, bytes: Uint8Array) => {
    Deno.mkdirSync(`${folder}/${name}`);
    Deno.writeFileSync(`${folder}/${name}/cache`, bytes);
  };
  const header = { volume: "11".repeat(16), line: 65536, slots: 1, epoch: 1, manifest: 1 };
  left("deleted", encodeCacheHeader(header));
  left("used", encodeCacheHeader(header));
  left("foreign", new TextEncoder().encode("the cache of another program"));
  const own = { store: `${bed.folder}/store`, journal: folder, journalSize: "16M" };
  await Volume.create("own", { ...own, size: "1M" });
  await (await Volume.open("own", { ...own, ...DISK })).close();
  using user = realFiles.open(`${folder}/used/cache`, { write: true });
  assert(user.lock("exclusive"));

  const after = bed.node("one", { disk: DISK });
  await until(() => after.mounts.get("b") !== undefined);
  await until(() => cachesIn(folder).length === 4);
  assertEquals(cachesIn(folder), ["b", "foreign", "own", "used"]);
  await after.end();
  assertEquals(cachesIn(folder), ["b", "foreign", "own", "used"]);
});

Deno.test("a node's caches + a service that was killed while it unmounted + gives the room back", async () => {
  await using bed = await Bed.make();
  const folder = `${bed.folder}/one`;
  const before = bed.node("one", { disk: DISK });
  await before.create({ id: "v", bytes: 4 * MIB });
  await mount(before, "v");
  await before.end();
  const path = `${folder}/.ebs/mounts/v.json`;
  const record = JSON.parse(Deno.readTextFileSync(path));
  Deno.writeTextFileSync(path, JSON.stringify({ ...record, state: "unmounting" }));
  bed.node("one", { disk: DISK });
  await until(() => realFiles.status(path) === undefined);
  assertEquals(cachesIn(folder), []);
});
