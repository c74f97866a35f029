import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import type { Backend } from "../disk/backend.ts";
import { readCounters } from "../disk/counters.ts";
import { Passing } from "../disk/passing.ts";
import { parseSize } from "../disk/size.ts";
import { inFolder } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { cloneVolume } from "../volume/clone.ts";
import { volumeInfo } from "../volume/list.ts";
import { Volume } from "../volume/volume.ts";
import { open, target, volume, type VolumeDiskOptions } from "./volume.ts";

const BLOCK = 4096;
const MIB = 1 << 20;

const opened = (name: string, options: VolumeDiskOptions) => open(volume(name, options).options);

Deno.test("a volume serves wrappers by its methods, and its drain goes on beside them", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "64M" });
    const disk = await opened("v", { store, journal, journalSize });
    assertEquals([disk.size, disk.blockSize, disk.persistent, disk.fua], [
      ...[64 << 20, BLOCK, true, true],
    ]);
    // More than the journal holds: it is drained and taken over meanwhile.
    const data = new Uint8Array(3 << 20);
    for (let round = 1; round <= 12; round++) {
      await disk.writeAt(data.fill(round), round * data.length, { fua: round % 3 === 0 });
    }
    await disk.flush!();
    await disk.trim!(data.length, data.length);
    await disk.writeZeroes!(2 * data.length, BLOCK, { mayUnmap: true });
    const check = async (disk: Backend) => {
      const found = [];
      for (const at of [data.length, 2 * data.length, 2 * data.length + BLOCK, 12 * data.length]) {
        const block = new Uint8Array(BLOCK).fill(0xee);
        await disk.readAt(block, at);
        found.push(block[0]);
      }
      assertEquals(found, [0, 0, 2, 12]);
    };
    await check(disk);
    await disk.resize!(128 << 20);
    assertEquals(disk.size, 128 << 20);
    await disk.close!();
    assertEquals((await volumeInfo(store, "v")).attachedBy, undefined);
    const again = await opened("v", { store, journal, journalSize });
    assertEquals(again.size, 128 << 20);
    await check(again);
    await again.close!();
  }, { onDisk: true });
});

Deno.test("a volume of a killed server + opened and closed, and not used + keeps what was flushed", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "64M" });
    const disk = await opened("v", { store, journal, journalSize });
    await disk.writeAt(new Uint8Array(BLOCK).fill(7), BLOCK, { fua: true });
    // A copy of the files is what a killed server leaves.
    const killed = { store: `${store}-killed`, journal: `${journal}-killed`, journalSize };
    await new Deno.Command("cp", { args: ["-r", store, killed.store] }).output();
    await new Deno.Command("cp", { args: ["-r", journal, killed.journal] }).output();
    await disk.close!();
    // No request has started the engine when it is closed. So closed a device that could not start.
    await (await opened("v", killed)).close!();
    const again = await opened("v", killed);
    const block = new Uint8Array(BLOCK);
    await again.readAt(block, BLOCK);
    assertEquals(block, new Uint8Array(BLOCK).fill(7));
    await again.close!();
  });
});

Deno.test("a volume's two threads count what they do, in memory that a third one may read", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "64M" });
    const disk = await opened("v", { store, journal, journalSize, durability: "store" });
    // As it goes to the thread that shows it; and through a wrapper.
    const counters = structuredClone(new Passing(disk).counters!);
    const values = () => readCounters(counters).values;
    await disk.writeAt(new Uint8Array(MIB).fill(1), 0, { fua: true });
    const { writtenBytes, commits, lagBytes, lagSeconds, journalBytes, ...stored } = values();
    assertEquals([writtenBytes, commits], [MIB, 1]);
    assertEquals([lagBytes, lagSeconds, journalBytes], [0, 0, 0]);
    assertEquals(stored.journalSizeBytes, parseSize(journalSize));
    const objects = (kind: string) => {
      const folder = `${store}/v/${kind}`;
      return [...Deno.readDirSync(folder)].map(({ name }) =>
        Deno.statSync(`${folder}/${name}`).size
      );
    };
    const sum = (sizes: number[]) => sizes.reduce((total, size) => total + size, 0);
    assertEquals(stored.chunkWrittenBytes, sum(objects("chunks")));
    assertEquals(stored.mapWrittenBytes, sum(objects("maps")));
    await disk.close!();
  });
});

Deno.test("a volume of another block size than the device is to have is refused, and left in order", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "4M", blockSize: 512 });
    await assertRejects(
      () => opened("v", { store, journal, journalSize, blockSize: 4096 }),
      UblkError,
      "blocks of 512 bytes, and not 4096",
    );
    assertEquals((await volumeInfo(store, "v")).attachedBy, undefined);
  });
});

Deno.test("a volume that goes on without its journal warns of what is lost", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "4M" });
    const first = await opened("v", { store, journal, journalSize });
    assertEquals(first.warnings, []);
    const second = await opened("v", {
      ...{ store, journal: `${journal}/other`, journalSize, withoutJournal: true },
    });
    const [warning] = second.warnings!;
    assertMatch(warning, /^volume v goes on without its journal: .* is lost, and nothing tells/);
    await second.close!();
    await assertRejects(async () => await first.close!(), UblkError, "attached");
  });
});

Deno.test("a read-only volume is read beside its writer, as its store had it, and taken from nobody", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "4M" });
    await using writer = await Volume.open("v", { store, journal, journalSize });
    const block = (byte: number) => new Uint8Array(BLOCK).fill(byte);
    await writer.write(block(1), 0);
    await writer.sync();
    const { attachedBy } = await volumeInfo(store, "v");
    const disk = await opened("v", { store, journal, readOnly: true });
    assertEquals([disk.size, disk.blockSize, disk.readOnly], [4 << 20, BLOCK, true]);
    const [warning] = new Passing(disk).warnings!;
    assertMatch(warning, /^volume v is read as its store had it at 2.*has it attached/);
    await writer.write(block(2), 0);
    await writer.write(block(3), BLOCK);
    await writer.sync();
    const found = new Uint8Array(2 * BLOCK).fill(0xee);
    await disk.readAt(found, 0);
    assertEquals([found[0], found[BLOCK]], [1, 0]);
    await disk.flush!();
    await assertRejects(
      async () => await disk.writeAt(block(4), 0, { fua: false }),
      UblkError,
      "EROFS",
    );
    await disk.close!();
    assertEquals((await volumeInfo(store, "v")).attachedBy, attachedBy);
    await writer.write(block(5), 0);
    await writer.sync();
    const missing = await assertRejects(
      () => opened("w", { store, journal, readOnly: true }),
      UblkError,
    );
    assertEquals(missing.code, "VOLUME_NOT_FOUND");
    const nowhere = await assertRejects(
      () => opened("v", { store: `${store}/none`, journal, readOnly: true }),
      UblkError,
    );
    assertEquals(nowhere.code, "VOLUME_STORE");
  });
});

Deno.test("volume() refuses what cannot be", () => {
  const paths = { store: "/s", journal: "/j" };
  for (
    const [name, options, words] of [
      ["../v", paths, "is no name of a volume"],
      ["v", { ...paths, store: "relative" }, "no absolute path and no URL"],
      ["v", { ...paths, store: "memory:" }, "use a folder in /dev/shm"],
      ["v", { ...paths, journal: "relative" }, "no absolute path"],
      ["v", { ...paths, journalSize: 4096 }, "is not possible"],
    ] as const
  ) {
    assertThrows(() => volume(name, options), UblkError, words);
  }
});

Deno.test("a volume with a cache reads through it, in a thread that fetches, and finds it again", async () => {
  await inFolder(async ({ store, journal, journalSize, folder }) => {
    await Volume.create("v", { store, size: "64M" });
    const options = { store, journal, journalSize, cache: "8M", cacheDir: `${folder}/caches` };
    const data = new Uint8Array(3 << 20).map((_, at) => at >> 12);
    {
      const disk = await opened("v", { store, journal, journalSize });
      await disk.writeAt(data, BLOCK, { fua: false });
      await disk.close!();
    }
    for (const round of ["fetched", "found again"]) {
      const disk = await opened("v", options);
      const found = new Uint8Array(data.length);
      await disk.readAt(found, BLOCK);
      assertEquals(found, data, round);
      await disk.close!();
      // From here on, the cache alone has the data.
      for (const { name } of Deno.readDirSync(`${store}/v/chunks`)) {
        Deno.removeSync(`${store}/v/chunks/${name}`);
      }
    }
    const { size } = await Deno.stat(`${folder}/caches/v/cache`);
    assert(size <= 8 << 20 && size > 7 << 20, `the cache's file has ${size} bytes`);
    // Without it they are missed.
    await Deno.remove(`${folder}/caches`, { recursive: true });
    const disk = await opened("v", options);
    await assertRejects(async () => await disk.readAt(new Uint8Array(BLOCK), BLOCK), UblkError);
    await disk.close!();
  });
});

Deno.test("target + limits and the place of S3 are a part of what is served", () => {
  const values = { name: "v", store: "s3://bucket/x", "max-connections": 4, bandwidth: 2 << 20 };
  const { options } = target.spec({ ...values, "gc-bandwidth": 1 << 20 } as never, []);
  assertEquals(
    (options as { store: string }).store,
    `${values.store}?max-connections=4&bandwidth=2097152`,
  );
  assertEquals((options as { gcBandwidth: number }).gcBandwidth, 1 << 20);
  const refused = assertThrows(() => volume("v", { gcBandwidth: 1000 }), UblkError);
  assertMatch(refused.message, /1000 bytes a second; give 64 KiB or more/);
});

Deno.test("a clone's disk reads what it shares in place, and through a cache and its thread", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "4M" });
    {
      await using volume = await Volume.open("v", { store, journal, journalSize });
      await volume.write(new Uint8Array(4 * BLOCK).fill(1), 0);
    }
    await cloneVolume(store, "v", "a");
    await cloneVolume(store, "a", "b");
    const firstBytes = async (disk: Backend) => {
      const found = new Uint8Array(4 * BLOCK);
      await disk.readAt(found, 0);
      return [0, 1, 2, 3].map((nth) => found[nth * BLOCK]);
    };
    for (const cache of [undefined, "8M"]) {
      const disk = await opened("b", { store, journal, journalSize, cache });
      await disk.writeAt(new Uint8Array(BLOCK).fill(2), BLOCK, { fua: false });
      assertEquals(await firstBytes(disk), [1, 2, 1, 1]);
      await disk.close!();
      const shown = await opened("b", { store, journal, cache, readOnly: true });
      assertEquals(await firstBytes(shown), [1, 2, 1, 1]);
      await shown.close!();
    }
  }, { onDisk: true });
});
