/**
 * A copy and its volume have the same UUID, and go apart: nothing of one passes for the other's on a
 * machine that has seen both.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { CrashableProcess } from "../../files/crashable.ts";
import { CrashableMachine } from "../../files/crashable_machine.ts";
import { FragileStore } from "../../tests/volumes/aged.ts";
import { UblkError } from "../../uapi/error.ts";
import { volume as backend } from "../../backends/volume.ts";
import { DiskHost } from "../../disk/host.ts";
import { inFolder } from "../../tests/volumes/folders.ts";
import { UBLK_IO_OP_WRITE } from "../../uapi/ublk_io.ts";
import { forgetJournal } from "../forget_journal.ts";
import { removeVolume } from "../list.ts";
import { createSnapshot } from "../snapshots.ts";
import { Volume } from "../volume.ts";
import { copyVolume } from "./copy.ts";

const BLOCK = 512;
const SIZES = { batchData: 64 << 10, batches: 3, openChunks: 4 };
const SHAPE = { size: 64 * BLOCK, blockSize: BLOCK, chunkSize: "64K" };

function optionsOn(machine: CrashableMachine, journal = "/journal") {
  return {
    ...{ files: new CrashableProcess(machine), sizes: SIZES, journal, journalSize: "2M" },
  };
}

async function fill(volume: Volume, block: number, byte: number): Promise<void> {
  await volume.write(new Uint8Array(BLOCK).fill(byte), block * BLOCK);
}

async function byteOf(volume: Volume, block: number): Promise<number> {
  const data = new Uint8Array(BLOCK);
  await volume.read(data, block * BLOCK);
  return data[0];
}

/** A volume and its copy, and a journal of the volume that has what the store lacks. */
async function apart(machine: CrashableMachine) {
  const store = new FragileStore();
  const copy = new FragileStore();
  await Volume.create("v", { store, ...SHAPE });
  {
    await using volume = await Volume.open("v", { store, ...optionsOn(machine) });
    await fill(volume, 0, 1);
  }
  await createSnapshot(store, "v", "s");
  await copyVolume(store, "v@s", copy);
  const volume = await Volume.open("v", { store, ...optionsOn(machine), patienceMs: 1 });
  store.left = 0;
  await fill(volume, 0, 2);
  await volume.flush();
  machine.kill();
  await volume.close().catch(() => {});
  store.left = Infinity;
  return { store, copy };
}

for (const times of [0, 3]) {
  Deno.test(`Volume.open + the journal of the volume that a copy is of + stays, after ${times} openings elsewhere`, async () => {
    const machine = new CrashableMachine(1, 8 << 20);
    const { store, copy } = await apart(machine);
    for (let time = 0; time < times; time++) {
      await (await Volume.open("v", { store: copy, ...optionsOn(machine, "/other") })).close();
    }
    for (const withoutJournal of [false, true]) {
      const refused = await assertRejects(
        () => Volume.open("v", { store: copy, ...optionsOn(machine), withoutJournal }),
        UblkError,
      );
      assertEquals(refused.code, "VOLUME_JOURNAL");
    }
    const files = new CrashableProcess(machine);
    assertEquals(await forgetJournal(copy, "v", "/journal", files), false);
    await using volume = await Volume.open("v", { store, ...optionsOn(machine) });
    assertEquals(await byteOf(volume, 0), 2);
  });
}

Deno.test("removeVolume + the journal of the volume that a copy is of + stays", async () => {
  const machine = new CrashableMachine(1, 8 << 20);
  const { store, copy } = await apart(machine);
  await removeVolume(copy, "v", { journal: "/journal", files: new CrashableProcess(machine) });
  await using volume = await Volume.open("v", { store, ...optionsOn(machine) });
  assertEquals(await byteOf(volume, 0), 2);
});

Deno.test("removeVolume + what is left of a volume + spares another one's journal", async () => {
  const machine = new CrashableMachine(1, 8 << 20);
  const { store } = await apart(machine);
  await using other = new FragileStore();
  await Volume.create("v", { store: other, ...SHAPE });
  await other.delete("v/head");
  await removeVolume(other, "v", { journal: "/journal", files: new CrashableProcess(machine) });
  await using volume = await Volume.open("v", { store, ...optionsOn(machine) });
  assertEquals(await byteOf(volume, 0), 2);
});

Deno.test("a cache + of the volume that a copy is of + is not taken for the copy's", async () => {
  const machine = new CrashableMachine(1, 8 << 20);
  await using store = new FragileStore();
  await using copy = new FragileStore();
  await Volume.create("v", { store, ...SHAPE });
  await (await Volume.open("v", { store, ...optionsOn(machine) })).close();
  await copyVolume(store, "v", copy);
  const cached = { cache: "2M", cacheDir: "/caches" };
  for (const byte of [1, 2]) {
    await using volume = await Volume.open("v", { store, ...optionsOn(machine), ...cached });
    await fill(volume, 0, byte);
  }
  {
    // What is read comes into the cache.
    await using volume = await Volume.open("v", { store, ...optionsOn(machine), ...cached });
    assertEquals(await byteOf(volume, 0), 2);
  }
  for (const byte of [3, 4, 5, 6]) {
    await using volume = await Volume.open("v", { store: copy, ...optionsOn(machine, "/other") });
    if (byte < 5) await fill(volume, 0, byte);
  }
  await using volume = await Volume.open("v", {
    ...{ store: copy, ...optionsOn(machine, "/other"), ...cached },
  });
  assertEquals(await byteOf(volume, 0), 4);
});

Deno.test("a volume + detached, copied and attached from there + goes on on the same machine", async () => {
  await inFolder(async ({ folder, store, journal, journalSize }) => {
    await Volume.create("v", { store, size: 64 * 4096 });
    const to = `${folder}/copy`;
    for (const from of [store, to]) {
      {
        await using host = await DiskHost.open(
          backend("v", { store: from, journal, journalSize }),
        );
        const buffer = new Uint8Array(4096).fill(1);
        await host.request({ op: UBLK_IO_OP_WRITE, offset: 0, length: 4096, buffer });
      }
      if (from === store) await copyVolume(store, "v", to);
    }
    {
      await using volume = await Volume.open("v", { store, journal, journalSize });
      assertEquals(volume.lost, undefined);
    }
    // The first one's journal is nobody's any more, whoever is removed.
    await removeVolume(to, "v", { journal });
    assertEquals([...Deno.readDirSync(`${journal}/v`)].map(({ name }) => name), ["lock"]);
  });
});
