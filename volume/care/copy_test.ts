import { assert, assertEquals, assertRejects } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { aged, BLOCK, contentsOf, FragileStore, NAME } from "../../tests/volumes/aged.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { FaultyStore } from "../../store/faulty.ts";
import { MemoryStore } from "../../store/memory.ts";
import { StoreError } from "../../store/store.ts";
import { Dice } from "../../uapi/dice.ts";
import { UblkError } from "../../uapi/error.ts";
import { checkVolume } from "../check.ts";
import { removeVolume } from "../list.ts";
import { createSnapshot, listSnapshots, removeSnapshot } from "../snapshots.ts";
import { collectVolume } from "../space/collect_volume.ts";
import { Volume } from "../volume.ts";
import { copyVolume } from "./copy.ts";
import { PacedStore } from "./paced_store.ts";

/** A store in which something happens before the nth put. */
class BusyStore extends FragileStore {
  puts = 0;
  at = Infinity;
  before: () => Promise<unknown> = () => Promise.resolve();

  override async putIfAbsent(...args: Parameters<MemoryStore["putIfAbsent"]>) {
    if (this.puts++ === this.at) await this.before();
    return await super.putIfAbsent(...args);
  }
}

/** A store that has room for so many objects more. */
class FullStore extends FragileStore {
  override putIfAbsent(...args: Parameters<MemoryStore["putIfAbsent"]>) {
    if (this.left-- > 0) return MemoryStore.prototype.putIfAbsent.apply(this, args);
    return Promise.reject(new StoreError("full", "put: no room is left"));
  }

  override replace(...args: Parameters<MemoryStore["replace"]>) {
    return MemoryStore.prototype.replace.apply(this, args);
  }
}

async function write(store: FragileStore, journal: string, block: number): Promise<void> {
  await using volume = await Volume.open(NAME, { store, journal, journalSize: "16M" });
  await volume.write(new Uint8Array(BLOCK).fill(99), block * BLOCK);
}

Deno.test("copyVolume + a volume and its snapshots arrive, however often it is interrupted", async (t) => {
  await eachSeed(t, 4, async (seed) => {
    const dice = new Dice(seed);
    await inFolder(async ({ journal }) => {
      await using store = new FragileStore();
      await aged(dice, store);
      await createSnapshot(store, NAME, "a");
      const first = await contentsOf(store);
      await write(store, journal, dice.draw(64));
      const last = await contentsOf(store);
      await using target = new FullStore();
      let rounds = 0;
      for (;; rounds++) {
        assert(rounds < 100, "each round copies something");
        target.left = 1 + dice.draw(3);
        try {
          const done = await copyVolume(store, NAME, target, { as: "w" });
          assertEquals(done.doneBytes, done.totalBytes);
          break;
        } catch (error) {
          assert(error instanceof StoreError && error.fault === "full", `${error}`);
          // There is no volume before the last step.
          const none = await assertRejects(() => checkVolume(target, "w"), UblkError);
          assertEquals(none.code, "VOLUME_NOT_FOUND");
        }
      }
      assert(rounds > 0);
      target.left = Infinity;
      const report = await checkVolume(target, "w");
      assertEquals([report.findings, report.isComplete], [[], true]);
      assertEquals(await contentsOf(target, "w"), last);
      assertEquals(await contentsOf(target, "w@a"), first);
      assertEquals((await listSnapshots(target, "w")).map(({ name }) => name), ["a"]);
      // It lives: it is written, and its garbage goes.
      {
        await using copy = await Volume.open("w", { store: target, journal, journalSize: "16M" });
        await copy.write(new Uint8Array(BLOCK).fill(5), 0);
      }
      await collectVolume(target, "w");
      assertEquals(await contentsOf(target, "w@a"), first);
      assertEquals(await contentsOf(target, "w"), last.with(0, 5));
      assertEquals(await contentsOf(store), last);
      const there = await assertRejects(
        () => copyVolume(store, NAME, target, { as: "w" }),
        UblkError,
      );
      assertEquals(there.code, "VOLUME_EXISTS");
      await removeVolume(target, "w");
      const removed = await assertRejects(
        () => copyVolume(store, NAME, target, { as: "w" }),
        UblkError,
      );
      assertEquals(removed.code, "VOLUME_EXISTS");
    });
  });
});

Deno.test("copyVolume + an attached volume is refused, its snapshot is copied", async () => {
  await inFolder(async ({ journal }) => {
    await using store = new FragileStore();
    await aged(new Dice(3), store);
    await createSnapshot(store, NAME, "a");
    const expected = await contentsOf(store);
    await using volume = await Volume.open(NAME, { store, journal, journalSize: "16M" });
    await volume.write(new Uint8Array(BLOCK).fill(98), 0);
    await volume.sync();
    await using target = new FragileStore();
    const busy = await assertRejects(() => copyVolume(store, NAME, target), UblkError);
    assertEquals(busy.code, "VOLUME_BUSY");
    await copyVolume(store, `${NAME}@a`, target);
    assertEquals(await contentsOf(target), expected);
    assertEquals((await checkVolume(target, NAME)).findings, []);
  });
});

Deno.test("copyVolume + what is damaged is not copied, and other objects are not replaced", async () => {
  await using store = new FragileStore();
  await aged(new Dice(3), store);
  const chunks = await store.names(`${NAME}/chunks/`);
  await using target = new FragileStore();
  await copyVolume(store, NAME, target);
  const [chunk] = (await target.names(`${NAME}/chunks/`)).filter((name) => chunks.includes(name));
  await using other = new FragileStore();
  await other.putIfAbsent(chunk, new Uint8Array([1]));
  const exists = await assertRejects(() => copyVolume(store, NAME, other), UblkError);
  assertEquals(exists.code, "VOLUME_EXISTS");
  const { size } = (await store.get(chunk))!;
  await store.flip(chunk, size - 1);
  await using third = new FragileStore();
  const damaged = await assertRejects(() => copyVolume(store, NAME, third), UblkError);
  assertEquals(damaged.code, "VOLUME_DAMAGED");
  assert(damaged.message.includes(chunk));
  assertEquals((await third.names()).includes(chunk), false);
});

Deno.test("PacedStore + so many bytes are read in a second, by all who read", async () => {
  let now = 0;
  const waits: number[] = [];
  const wait = (ms: number) => {
    waits.push(ms);
    now = Math.max(now, now + ms);
    return Promise.resolve();
  };
  await using store = new MemoryStore();
  await store.putIfAbsent("a", new Uint8Array(3000));
  const paced = new PacedStore(store, 1000, { clock: () => now }, wait);
  await paced.get("a");
  assertEquals([now, Math.max(...waits)], [3000, 1000]);
  await Promise.all([paced.get("a"), paced.get("a", { range: { offset: 0, length: 500 } })]);
  assertEquals(now, 6500);
  assertEquals(await paced.get("b"), undefined);
  assertEquals(now, 6500);
  // Time in which nothing was read is not saved up.
  now = 100_000;
  await paced.get("a");
  assertEquals(now, 103_000);
  const free = new PacedStore(store, undefined, { clock: () => now }, wait);
  await free.get("a");
  assertEquals(now, 103_000);
});

Deno.test("copyVolume + its name is removed, and made anew, meanwhile + each volume is whole or is not", async () => {
  await inFolder(async ({ journal }) => {
    await using store = new FragileStore();
    await aged(new Dice(3), store);
    const expected = await contentsOf(store);
    for (const again of [false, true]) {
      let isOver = false;
      for (let at = 0; !isOver; at += again ? 4 : 1) {
        await using target = new BusyStore();
        target.at = at;
        target.before = async () => {
          target.at = Infinity;
          // There may be nothing yet.
          await removeVolume(target, "w").catch(() => {});
          if (!again) return;
          await Volume.create("w", { store: target, size: 64 * BLOCK, blockSize: BLOCK });
          await using made = await Volume.open("w", {
            ...{ store: target, journal: `${journal}/${at}`, journalSize: "16M" },
          });
          await made.write(new Uint8Array(BLOCK).fill(77), 0);
        };
        let error: unknown = undefined;
        await copyVolume(store, NAME, target, { as: "w" }).catch((thrown) => error = thrown);
        isOver = target.at === at;
        assert(!isOver || at > 5, `${at} puts`);
        if (error === undefined) assertEquals(await contentsOf(target, "w"), expected, `${at}`);
        else {
          assert(error instanceof UblkError, `${error}`);
          const found = await checkVolume(target, "w").catch((error) => error.code);
          if (!again) assertEquals(found, "VOLUME_NOT_FOUND", `${at}`);
          else {
            assertEquals(found.findings, [], `${at}`);
            assertEquals((await contentsOf(target, "w"))[0], 77, `${at}`);
          }
        }
      }
    }
  });
});

Deno.test("copyVolume + another copy has taken its name, is finished and used + changes nothing of it", async () => {
  await using store = new FragileStore();
  await aged(new Dice(3), store);
  for (let at = 1, isOver = false; !isOver; at++) {
    await using target = new BusyStore();
    target.at = at;
    let finished: unknown = undefined;
    target.before = async () => {
      target.at = Infinity;
      await copyVolume(store, NAME, target, { as: "w" });
      await createSnapshot(target, "w", "kept");
      finished = (await target.get("w/catalog"))?.bytes;
    };
    await copyVolume(store, NAME, target, { as: "w" }).catch(() => {});
    isOver = target.at === at;
    if (!isOver) assertEquals((await target.get("w/catalog"))?.bytes, finished as never, `${at}`);
    assert(!isOver || at > 5, `${at} puts`);
  }
});

// Such a snapshot was said to be damaged, and there was no copy.
Deno.test("copyVolume + a snapshot is removed and collected meanwhile + the copy has the others", async () => {
  for (const kind of ["manifests", "maps", "chunks"]) {
    await inFolder(async ({ journal }) => {
      const inner = new MemoryStore();
      await Volume.create(NAME, { store: inner, size: "1M", chunkSize: "64K" });
      for (const [nth, snapshot] of ["a", "b", ""].entries()) {
        await using volume = await Volume.open(NAME, { store: inner, journal, journalSize: "16M" });
        await volume.write(new Uint8Array(64 * BLOCK).fill(nth + 1), 0);
        await volume.sync();
        if (snapshot !== "") await createSnapshot(inner, NAME, snapshot);
      }
      let catalogs = 0;
      let isRemoved = false;
      const store = new FaultyStore(inner, {
        pause: async ({ name, object }, when) => {
          if (when === "after" || name !== "get") return;
          if (object === `${NAME}/catalog`) catalogs++;
          // The catalog was read for the entry of the copy, and for the snapshots.
          if (isRemoved || catalogs < 2 || !object.includes(`/${kind}/`)) return;
          isRemoved = true;
          await removeSnapshot(inner, NAME, "a");
          await collectVolume(inner, NAME);
        },
      });
      const target = new MemoryStore();
      await copyVolume(store, NAME, target);
      assertEquals((await checkVolume(target, NAME)).findings, [], kind);
      const names = (await listSnapshots(target, NAME)).map((one) => one.name);
      assertEquals([names, isRemoved], [["b"], true], kind);
    });
  }
});
