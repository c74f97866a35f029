import { assert, assertEquals, assertRejects, fail } from "@std/assert";
import { Buffer } from "node:buffer";
import { CrashableProcess } from "../files/crashable.ts";
import { CrashableMachine } from "../files/crashable_machine.ts";
import { DirectoryStore } from "../store/directory.ts";
import { drawnStoreFaults } from "../store/faults.ts";
import { FaultyStore } from "../store/faulty.ts";
import { MemoryStore } from "../store/memory.ts";
import { StoreError } from "../store/store.ts";
import { eachSeed } from "../tests/seeds.ts";
import { inFolder } from "../tests/volumes/folders.ts";
import { Dice } from "../uapi/dice.ts";
import { ENOSPC, EROFS } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { checkVolume } from "./check.ts";
import { MACHINE, type Seam } from "./seam.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;
/** On a clock that stands still, nothing is committed because it has waited for long. */
const STILL: Seam = { ...MACHINE, clock: () => 0 };

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isFile } of Deno.readDir(from)) {
    if (isFile) await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

function filled(byte: number, blocks = 1): Uint8Array<ArrayBuffer> {
  return new Uint8Array(blocks * BLOCK).fill(byte);
}

async function byteAt(volume: Volume, offset: number): Promise<number> {
  const bytes = filled(0xee);
  await volume.read(bytes, offset);
  assert(bytes.every((byte) => byte === bytes[0]), "the block is whole");
  return bytes[0];
}

Deno.test("Volume + finds after opening again what was written, flushed, synced, trimmed", async () => {
  await inFolder(async ({ folder }) => {
    const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
    await Volume.create("v", { store: options.store, size: "64M" });
    {
      await using volume = await Volume.open("v", options);
      assertEquals([volume.size, volume.blockSize, volume.readOnly], [64 << 20, 4096, false]);
      await volume.write(filled(1, 300), 0);
      await volume.flush();
      await volume.write(filled(2, 2), 8 * BLOCK, { fua: true });
      await volume.sync();
      await volume.write(filled(3), BLOCK);
      await volume.trim(2 * BLOCK, BLOCK);
      await volume.writeZeroes(3 * BLOCK, BLOCK);
      assertEquals(await byteAt(volume, 0), 1);
      assertEquals(await byteAt(volume, 299 * BLOCK), 1);
    }
    await using volume = await Volume.open("v", options);
    const found = [];
    for (const nth of [0, 1, 2, 3, 4, 7, 8, 9, 10, 299, 300]) {
      found.push(await byteAt(volume, nth * BLOCK));
    }
    assertEquals(found, [1, 3, 0, 0, 1, 1, 2, 2, 1, 1, 0]);
    const whole = new Uint8Array(300 * BLOCK);
    await volume.read(whole, 0);
    assertEquals(whole[299 * BLOCK], 1);
  }, { onDisk: true });
});

Deno.test("Volume + refuses what is not whole blocks, and anything once it is closed", async () => {
  await inFolder(async ({ folder }) => {
    const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
    await Volume.create("v", { store: options.store, size: "1M" });
    const volume = await Volume.open("v", options);
    for (
      const wrong of [
        () => volume.write(new Uint8Array(100), 0),
        () => volume.read(filled(0), 512),
        () => volume.trim(0, 1),
        () => volume.read(filled(0), 1 << 20),
        () => volume.writeZeroes(-BLOCK, BLOCK),
      ]
    ) {
      const error = await assertRejects(wrong, UblkError);
      assertEquals([error.code, error.message.includes("\n")], ["INVALID_ARGUMENT", false]);
    }
    await volume.close();
    assertEquals((await assertRejects(() => volume.flush(), UblkError)).code, "ABORTED");
    await volume.close();
  });
});

/** Compares a volume with what it should hold, byte for byte. */
async function assertHolds(volume: Volume, model: Uint8Array<ArrayBuffer>): Promise<void> {
  const found = new Uint8Array(model.length).fill(0xee);
  await volume.read(found, 0);
  for (let block = 0; block < model.length / BLOCK; block++) {
    const range = [block * BLOCK, (block + 1) * BLOCK] as const;
    if (Buffer.compare(found.subarray(...range), model.subarray(...range)) !== 0) {
      throw new Error(
        `block ${block} begins with ${found[range[0]]}, and not ${model[range[0]]}`,
      );
    }
  }
}

/** Random operations, many at a time, none of which overlap those outstanding. */
async function exercise(
  volume: Volume,
  model: Uint8Array<ArrayBuffer>,
  dice: Dice,
  operations: number,
): Promise<void> {
  const blocks = model.length / BLOCK;
  const busy = new Set<number>();
  const outstanding = new Set<Promise<void>>();
  for (let nth = 0; nth < operations; nth++) {
    if (outstanding.size >= 100) await Promise.race(outstanding);
    const count = 1 + dice.draw(dice.draw(8) === 0 ? 150 : 4);
    const block = dice.draw(blocks - count + 1);
    const taken = Array.from({ length: count }, (_, nth) => block + nth);
    if (taken.some((one) => busy.has(one))) continue;
    taken.forEach((one) => busy.add(one));
    const [offset, length] = [block * BLOCK, count * BLOCK];
    const part = model.subarray(offset, offset + length);
    const kind = dice.draw(20);
    let operation: Promise<void>;
    if (kind < 10) {
      const data = new Uint8Array(length).fill(1 + dice.draw(255));
      part.set(data);
      operation = volume.write(data, offset, { fua: dice.draw(5) === 0 });
    } else if (kind < 16) {
      const data = new Uint8Array(length).fill(0xee);
      operation = volume.read(data, offset).then(() => assertEquals(Buffer.compare(data, part), 0));
    } else if (kind < 18) {
      part.fill(0);
      operation = kind === 16 ? volume.trim(offset, length) : volume.writeZeroes(offset, length);
    } else operation = kind === 18 ? volume.flush() : volume.sync();
    const done = operation.then(() => {
      taken.forEach((one) => busy.delete(one));
      outstanding.delete(done);
    });
    outstanding.add(done);
  }
  await Promise.all(outstanding);
}

Deno.test("Volume + many operations at a time agree with a model", async (t) => {
  await eachSeed(t, 2, async (seed) => {
    await inFolder(async ({ folder }) => {
      const dice = new Dice(seed);
      const options = {
        ...{ store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" },
      };
      await Volume.create("v", { store: options.store, size: "4M", chunkSize: "512K" });
      const model = new Uint8Array(4 << 20);
      for (let life = 0; life < 2; life++) {
        await using volume = await Volume.open("v", options);
        await assertHolds(volume, model);
        await exercise(volume, model, dice, 300);
        await assertHolds(volume, model);
      }
    }, { onDisk: true });
  });
});

Deno.test("Volume + a store in memory: chunks are fetched", async () => {
  await inFolder(async ({ folder }) => {
    const store = new MemoryStore();
    const options = { store, journal: `${folder}/journal`, journalSize: "16M" };
    await Volume.create("v", { store, size: "4M", chunkSize: "64K" });
    const model = new Uint8Array(4 << 20);
    for (let life = 0; life < 3; life++) {
      await using volume = await Volume.open("v", options);
      await assertHolds(volume, model);
      await exercise(volume, model, new Dice(life), 400);
      await assertHolds(volume, model);
    }
    await using volume = await Volume.open("v", { store, readOnly: true });
    await assertHolds(volume, model);
  });
});

Deno.test("Volume + on simulated files, without a ring", async () => {
  const machine = new CrashableMachine(1);
  const model = new Uint8Array(1 << 20);
  const sizes = { batchData: 64 << 10, batches: 4, openChunks: 8 };
  for (let life = 0; life < 3; life++) {
    const files = new CrashableProcess(machine);
    const store = await DirectoryStore.open("/store", { files, create: true });
    if (life === 0) await Volume.create("v", { store, size: "1M", chunkSize: "64K" });
    const options = { store, files, sizes, journal: "/journal", journalSize: "1M" };
    const volume = await Volume.open("v", options);
    await assertHolds(volume, model);
    await exercise(volume, model, new Dice(life), 300);
    if (life === 1) {
      // Its process dies without closing it.
      machine.kill();
      await volume.close().catch(() => {});
      continue;
    }
    await volume.close();
    await store[Symbol.asyncDispose]();
  }
});

Deno.test("Volume + killed or without power at any operation, it keeps what was answered or flushed", async (t) => {
  const sizes = { batchData: 16 << 10, batches: 3, openChunks: 4 };
  await eachSeed(t, 60, async (seed) => {
    const machine = new CrashableMachine(seed);
    machine.hasCheapDurability = seed % 2 === 0;
    const { dice } = machine;
    /** Of each block, what it may hold: one number, or several if nobody was told. */
    const blocks = Array.from({ length: 32 }, () => new Set([0]));
    for (let life = 0; life < 4; life++) {
      const files = new CrashableProcess(machine);
      const store = await DirectoryStore.open("/store", { files, create: true });
      if (life === 0) {
        await Volume.create("v", { store, size: 32 * BLOCK, chunkSize: "64K" });
      }
      const options = { store, files, sizes, journal: "/journal", journalSize: "256K" };
      const volume = await Volume.open("v", { ...options, patienceMs: 1 });
      for (const [nth, may] of blocks.entries()) {
        const found = await byteAt(volume, nth * BLOCK);
        assert(may.has(found), `block ${nth} holds ${found}, and not ${[...may]}`);
        blocks[nth] = new Set([found]);
      }
      // Now this is what the volume holds, and it stays.
      await volume.flush();
      const isPower = dice.draw(2) === 0;
      machine.endsAt = machine.operations + 1 + dice.draw(150);
      for (let nth = 0; nth < 200 && !files.hasEnded; nth++) {
        const block = dice.draw(blocks.length);
        const byte = dice.draw(256);
        if (dice.draw(10) === 0) await volume.sync().catch(() => {});
        blocks[block].add(byte);
        try {
          await volume.write(new Uint8Array(BLOCK).fill(byte), block * BLOCK);
          if (isPower) await volume.flush();
          blocks[block] = new Set([byte]);
        } catch {
          // It may be there or not.
        }
      }
      machine.endsAt = Infinity;
      if (isPower) machine.cutPower();
      else machine.kill();
      await volume.close().catch(() => {});
    }
  });
});

Deno.test("Volume + a reader sees the volume as it was, beside its writer", async () => {
  await inFolder(async ({ folder }) => {
    const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
    const { store } = options;
    await Volume.create("v", { store, size: "1M" });
    await using writer = await Volume.open("v", { ...options, seam: STILL });
    await writer.write(filled(1), 0);
    await writer.sync();
    await writer.write(filled(2), 0);
    await using reader = await Volume.open("v", { store, readOnly: true });
    assertEquals(await byteAt(reader, 0), 1);
    await writer.sync();
    assertEquals([await byteAt(writer, 0), await byteAt(reader, 0)], [2, 1]);
    await reader.flush();
    for (const change of [() => reader.write(filled(3), 0), () => reader.trim(0, BLOCK)]) {
      assertEquals((await assertRejects(change, UblkError)).errno, EROFS);
    }
    // Its journal is in use.
    const both = { ...options, readOnly: true };
    const busy = await assertRejects(() => Volume.open("v", both), UblkError);
    assertEquals(busy.code, "VOLUME_BUSY");
  });
});

Deno.test("Volume + one process at a time has it, and only with its journal", async () => {
  await inFolder(async ({ folder }) => {
    const store = `${folder}/store`;
    const options = { store, journal: `${folder}/journal`, journalSize: "16M", seam: STILL };
    await Volume.create("v", { store, size: "1M" });
    const lines: string[] = [];
    const first = await Volume.open("v", { ...options, report: (line) => lines.push(line) });
    await first.write(filled(1), 0);
    await first.sync();
    await first.write(filled(2), 0);
    const again = await assertRejects(() => Volume.open("v", options), UblkError);
    assertEquals(again.code, "VOLUME_BUSY");
    const elsewhere = { ...options, journal: `${folder}/elsewhere` };
    const wrong = await assertRejects(() => Volume.open("v", elsewhere), UblkError);
    assertEquals(wrong.code, "VOLUME_JOURNAL");
    const second = await Volume.open("v", { ...elsewhere, withoutJournal: true });
    assert(second.lost !== undefined && second.lost.host !== "");
    assertEquals(await byteAt(second, 0), 1);
    await second.write(filled(3), 0);
    await second.sync();
    // The first finds out at its next commit, and takes no more writes.
    assertEquals((await assertRejects(() => first.sync(), UblkError)).code, "VOLUME_FENCED");
    const refused = await assertRejects(() => first.write(filled(4), 0), UblkError);
    assertEquals(refused.code, "VOLUME_FENCED");
    assertEquals((await assertRejects(() => first.close(), UblkError)).code, "VOLUME_FENCED");
    assertEquals(lines.map((line) => /attached now/.test(line)), [true], lines.join("\n"));
    assertEquals(await byteAt(second, 0), 3);
    await second.close();
    await using third = await Volume.open("v", { ...options, journal: `${folder}/third` });
    assertEquals(await byteAt(third, 0), 3);
  });
});

Deno.test("Volume + a lease that is not renewed + no flush is answered, and another may take it", async () => {
  await inFolder(async ({ folder }) => {
    let isAway = false;
    const store = new FaultyStore(new MemoryStore(), {
      pause: () => {
        if (isAway) throw new StoreError("unavailable", "the store is away");
      },
    });
    const lines: string[] = [];
    const options = { store, journalSize: "16M", leaseSeconds: 1 };
    const mine = { ...options, journal: `${folder}/journal` };
    const theirs = { ...options, journal: `${folder}/theirs`, withoutJournal: true };
    await Volume.create("v", { store, size: "1M" });
    const first = await Volume.open("v", { ...mine, report: (line) => lines.push(line) });
    await first.write(filled(1), 0);
    await first.sync();
    // For whoever wants it time passes slowly: there is a renewal before the lease runs out.
    const slow = { ...MACHINE, elapsed: () => MACHINE.elapsed() / 60 };
    const busy = await assertRejects(() => Volume.open("v", { ...theirs, seam: slow }), UblkError);
    assertEquals(busy.code, "VOLUME_BUSY");
    isAway = true;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await first.write(filled(2), 0);
    let isFlushed = false;
    const flushed = first.flush().then(() => isFlushed = true);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert(!isFlushed, "somebody else may have the volume");
    assertEquals(lines.filter((line) => /no FLUSH is answered/.test(line)).length, 1);
    isAway = false;
    await flushed;
    const second = await Volume.open("v", { ...theirs, force: true });
    assertEquals((await assertRejects(() => first.sync(), UblkError)).code, "VOLUME_FENCED");
    await assertRejects(() => first.flush(), UblkError);
    await assertRejects(() => first.close(), UblkError);
    await second.close();
  });
});

for (const isThere of [false, true]) {
  const where = isThere ? "is given up" : "is gone";
  Deno.test(`Volume + its journal ${where} + it says how old it is, and what is missing at least`, async () => {
    await inFolder(async ({ folder }) => {
      let time = 1000;
      const gate = Promise.withResolvers<void>();
      const begun = Promise.withResolvers<void>();
      const store = new FaultyStore(new MemoryStore(), {
        pause: ({ name }) => {
          if (time < 2000 || name !== "put") return undefined;
          begun.resolve();
          return gate.promise;
        },
      });
      const seam = { ...STILL, now: () => time };
      const options = { store, journalSize: "16M", seam };
      await Volume.create("v", { store, size: "1M" });
      const first = await Volume.open("v", { ...options, journal: `${folder}/journal` });
      await first.write(filled(1), 0);
      time = 2000;
      const synced = first.sync();
      await begun.promise;
      // The commit that is under way has none of this, and knows of it when it ends.
      time = 3000;
      for (const block of [1, 2, 3]) await first.write(filled(2), block * BLOCK);
      gate.resolve();
      await synced;
      // Only the journal knows of this.
      time = 4000;
      await first.write(filled(3), 4 * BLOCK);
      if (isThere) {
        await copyFolder(`${folder}/journal/v`, `${folder}/other/v`);
        // A whole one is not given up.
        const segments = [...Deno.readDirSync(`${folder}/other/v`)].map(({ name }) => name)
          .filter((name) => /^journal-\d+$/.test(name));
        await Deno.remove(`${folder}/other/v/${segments.sort().at(-1)}`);
      }
      const other = { ...options, journal: `${folder}/other`, withoutJournal: true };
      const second = await Volume.open("v", other);
      assertEquals(second.lost?.time, 2000);
      assertEquals(second.lost?.bytes, (isThere ? 4 : 3) * BLOCK);
      assertEquals(await byteAt(second, 0), 1);
      assertEquals(await byteAt(second, BLOCK), 0);
      await second.write(filled(4), 0);
      await second.sync();
      {
        // Data that was lost before is not counted again.
        const third = { ...options, journal: `${folder}/third`, withoutJournal: true };
        await using volume = await Volume.open("v", third);
        assertEquals([volume.lost?.time, volume.lost?.bytes], [4000, 0]);
      }
      await assertRejects(() => second.close(), UblkError);
      await assertRejects(() => first.close(), UblkError);
    });
  });
}

Deno.test("Volume + a store that is away or full is waited for, and the journal has everything", async () => {
  await inFolder(async ({ folder }) => {
    const store = new FaultyStore(new MemoryStore());
    const lines: string[] = [];
    const options = {
      ...{ store, journal: `${folder}/journal`, journalSize: "16M" },
      report: (line: string) => lines.push(line),
    };
    await Volume.create("v", { store, size: "1M" });
    const volume = await Volume.open("v", { ...options, patienceMs: 300 });
    await volume.write(filled(1), 0);
    let failures = 0;
    store.faults = ({ name }) => {
      if (name !== "put" || failures === 3) return undefined;
      return ++failures === 1 ? "full" : "unavailable";
    };
    await volume.sync();
    assertEquals([failures, lines.length, lines.at(-1)], [3, 3, "the store takes data again"]);
    await volume.write(filled(2), 0);
    store.faults = ({ name }) => name === "put" ? "unavailable" : undefined;
    const error = await assertRejects(() => volume.close(), UblkError);
    assertEquals(error.code, "VOLUME_STORE");
    store.faults = undefined;
    await using again = await Volume.open("v", options);
    assertEquals(await byteAt(again, 0), 2);
  });
});

Deno.test("Volume + durability in the store + a flush waits for it, and outlives the journal", async () => {
  await inFolder(async ({ folder }) => {
    const store = new FaultyStore(new MemoryStore());
    const options = { store, journalSize: "16M", patienceMs: 300, durability: "store" } as const;
    await Volume.create("v", { store, size: "1M" });
    const first = await Volume.open("v", { ...options, journal: `${folder}/journal` });
    await first.write(filled(1), 0);
    store.faults = ({ name }) => name === "put" ? "unavailable" : undefined;
    let isFlushed = false;
    const flushed = first.flush().then(() => isFlushed = true);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert(!isFlushed, "the store does not have it");
    store.faults = undefined;
    await flushed;
    await using second = await Volume.open("v", {
      ...{ ...options, journal: `${folder}/theirs`, withoutJournal: true, force: true },
    });
    assertEquals(await byteAt(second, 0), 1);
    await assertRejects(() => first.close(), UblkError);
  });
});

Deno.test("Volume + a store that fails in all ways changes nothing that anybody sees", async (t) => {
  await eachSeed(t, 4, async (seed) => {
    await inFolder(async ({ folder }) => {
      const dice = new Dice(seed);
      const store = new FaultyStore(new MemoryStore(), { dice });
      await Volume.create("v", { store, size: "1M", chunkSize: "512K" });
      const options = { store, journal: `${folder}/journal`, journalSize: "16M" };
      const model = new Uint8Array(1 << 20);
      // Reads of objects fail too, but are not wrong: that is damage, and ends the drain.
      store.faults = drawnStoreFaults(dice, {
        ...{ unavailable: 50, full: 50, late: 50, "lost answer": 30, "lost race": 30 },
      });
      for (let life = 0; life < 3; life++) {
        let volume: Volume | undefined = undefined;
        for (let attempt = 0; volume === undefined; attempt++) {
          try {
            volume = await Volume.open("v", options);
          } catch (error) {
            if (!(error instanceof StoreError) || attempt > 50) throw error;
          }
        }
        await assertHolds(volume, model);
        await exercise(volume, model, dice, 60);
        await assertHolds(volume, model);
        await volume.close();
      }
      store.faults = undefined;
      await store.arrive();
      assertEquals((await checkVolume(store, "v")).findings, []);
    });
  });
});

Deno.test("Volume + a full journal makes writes wait, or fail with ENOSPC", async () => {
  await inFolder(async ({ folder }) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "64M" });
    for (const whenFull of ["error", "wait"] as const) {
      const options = { store, journal: `${folder}/journal`, journalSize: "16M", whenFull };
      await using volume = await Volume.open("v", options);
      store.faults = ({ name }) => name === "put" ? "unavailable" : undefined;
      const writes = Array.from(
        { length: 24 },
        (_, nth) => volume.write(filled(nth + 1, 256), nth << 20),
      );
      const failed = whenFull === "error"
        ? (await Promise.allSettled(writes)).filter(({ status }) => status === "rejected")
        : [];
      if (whenFull === "error") {
        assert(failed.length > 4 && failed.length < 20);
        for (const one of failed) {
          assertEquals((one as PromiseRejectedResult).reason.errno, ENOSPC);
        }
      } else {
        const pause = new Promise<void>((resolve) => setTimeout(resolve, 300));
        await Promise.race([pause, Promise.all(writes).then(() => fail("they wait"))]);
      }
      store.faults = undefined;
      if (whenFull === "wait") {
        await Promise.all(writes);
        assertEquals(await byteAt(volume, 23 << 20), 24);
      } else await volume.write(filled(99), 0).catch(() => {});
    }
  });
});

Deno.test("Volume + a process that is killed loses nothing that was answered", async () => {
  await inFolder(async ({ folder }) => {
    const options = { store: `${folder}/store`, journal: `${folder}/journal`, journalSize: "16M" };
    await Volume.create("v", { store: options.store, size: "16M" });
    let last = 0;
    for (let life = 0; life < 3; life++) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", new URL("../tests/volumes/writer_child.ts", import.meta.url).pathname]
          .concat(JSON.stringify(options), String(last)),
        stdout: "piped",
      }).spawn();
      const enough = last + 300;
      let told = "";
      let isKilled = false;
      for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
        told += part;
        const whole = told.slice(0, told.lastIndexOf("\n")).split("\n").at(-1)!;
        if (Number(whole) > last) last = Number(whole);
        // What it has printed still comes, and it may be gone by then.
        if (last < enough || isKilled) continue;
        isKilled = true;
        child.kill("SIGKILL");
      }
      assertEquals((await child.status).signal, "SIGKILL");
      {
        // A reader with the journal sees it all, and leaves it as it is.
        await using reader = await Volume.open("v", { ...options, readOnly: true });
        const block = new Uint8Array(BLOCK);
        await reader.read(block, last % (reader.size / BLOCK) * BLOCK);
        assert(new Uint32Array(block.buffer)[0] >= last);
      }
      await using volume = await Volume.open("v", options);
      const model = new Uint8Array(volume.size);
      await volume.read(model, 0);
      const words = new Uint32Array(model.buffer);
      const blocks = model.length / BLOCK;
      for (let id = Math.max(1, last - blocks + 1); id <= last; id++) {
        const found = words[id % blocks * BLOCK / 4];
        // A later one may have been written and not told.
        assert(
          found >= id && (found - id) % blocks === 0,
          `write ${id} is there, and not ${found}`,
        );
      }
      last = Math.max(...words.filter((_, at) => at % (BLOCK / 4) === 0));
    }
  }, { onDisk: true });
});

Deno.test("Volume.close + data waits to be moved meanwhile + nothing is committed beside the release", async () => {
  await inFolder(async ({ journal, journalSize }) => {
    const inner = new MemoryStore();
    const reading = Promise.withResolvers<void>();
    const mayRead = Promise.withResolvers<void>();
    let isClosing = false;
    const late: string[] = [];
    const store = Object.assign(Object.create(inner) as MemoryStore, {
      async get(...args: Parameters<MemoryStore["get"]>) {
        // Only whoever moves data reads it.
        if (args[0].startsWith("v/chunks/")) {
          reading.resolve();
          await mayRead.promise;
        }
        return await inner.get(...args);
      },
      async putIfAbsent(...args: Parameters<MemoryStore["putIfAbsent"]>) {
        if (isClosing) late.push(args[0]);
        return await inner.putIfAbsent(...args);
      },
      async replace(...args: Parameters<MemoryStore["replace"]>) {
        // All has been synced: it is the release.
        if (isClosing && args[0] === "v/head") {
          mayRead.resolve();
          for (let turn = 0; turn < 20; turn++) await new Promise((done) => setTimeout(done, 1));
        }
        return await inner.replace(...args);
      },
    });
    for (const name of ["list", "delete"] as const) {
      Object.assign(store, { [name]: inner[name].bind(inner) });
    }
    await Volume.create("v", { store, size: "1M", chunkSize: "64K" });
    let nowMs = 0;
    const seam = { ...MACHINE, clock: () => nowMs };
    const volume = await Volume.open("v", { store, journal, journalSize, seam });
    await volume.write(new Uint8Array(1 << 20).fill(1), 0);
    await volume.sync();
    for (let block = 0; block < 256; block++) {
      if (block % 4 > 0) await volume.write(new Uint8Array(4096).fill(2), block * 4096);
    }
    // No collection waits for its turn.
    nowMs += 1e6;
    await volume.sync();
    await reading.promise;
    isClosing = true;
    await volume.close();
    assertEquals(late, []);
  });
});
