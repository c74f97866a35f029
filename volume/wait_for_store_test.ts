import { assert, assertEquals, assertRejects } from "@std/assert";
import { open, volume as disk } from "../backends/volume.ts";
import type { File, Files, OpenOptions } from "../files/port.ts";
import { realFiles } from "../files/real.ts";
import { FaultyStore } from "../store/faulty.ts";
import { MemoryStore } from "../store/memory.ts";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import { turnOfEventLoop } from "../uring/libc.ts";
import { UblkError } from "../uapi/error.ts";
import { COMMIT_MS } from "./drain/policy.ts";
import { doorIn } from "./marks/door.ts";
import { ObjectNames } from "./names.ts";
import { MACHINE } from "./seam.ts";
import { Volume } from "./volume.ts";
import { waitForStore, type WaitForStoreOptions } from "./wait_for_store.ts";

const BLOCK = 4096;

Deno.test("waitForStore waits until the store has what the journal had", async () => {
  await inFolder(async ({ store, journal, journalSize }) => {
    await Volume.create("v", { store, size: "4M" });
    const error = await assertRejects(() => waitForStore(store, "w", { journal }), UblkError);
    assertEquals(error.code, "VOLUME_NOT_FOUND");
    // Nobody has it attached: the store has everything.
    await waitForStore(store, "v", { journal });
    const served = await open(disk("v", { store, journal, journalSize }).options);
    await using _closed = { [Symbol.asyncDispose]: async () => await served.close!() };
    await served.writeAt(new Uint8Array(BLOCK).fill(4), BLOCK, { fua: false });
    const elsewhere = await assertRejects(
      () => waitForStore(store, "v", { journal: `${journal}/other` }),
      UblkError,
    );
    assertEquals(elsewhere.code, "VOLUME_JOURNAL");
    // The server was asked: by itself it would have waited for more, from the write on. On a busy machine
    // it may take as long once.
    const times: number[] = [];
    while (times.length < 3 && !times.some((ms) => ms < 0.9 * COMMIT_MS)) {
      const start = performance.now();
      await served.writeAt(new Uint8Array(BLOCK).fill(5), BLOCK, { fua: false });
      await waitForStore(store, "v", { journal });
      times.push(performance.now() - start);
    }
    assert(times.some((ms) => ms < 0.9 * COMMIT_MS), `nobody asked the server: ${times}`);
    await using volume = await Volume.open("v", { store, readOnly: true });
    const block = new Uint8Array(BLOCK);
    await volume.read(block, BLOCK);
    assertEquals(block[0], 5);
  });
});

/** Calls before each read of the head. */
class BusyStore extends FaultyStore {
  beforeHead: () => Promise<void> = () => Promise.resolve();

  override async get(...args: Parameters<FaultyStore["get"]>) {
    if (args[0] === new ObjectNames("v").head) await this.beforeHead();
    return await super.get(...args);
  }
}

/** Waits beside a server that commits before each look, and tells whether the store has what was written. */
async function waitBesideCommits(at: VolumeFolders, journal: string): Promise<void> {
  const store = new MemoryStore();
  await Volume.create("v", { store, size: "4M" });
  await using served = await Volume.open("v", { store, journal, journalSize: at.journalSize });
  const block = new Uint8Array(BLOCK);
  const busy = new BusyStore(store);
  let looks = 0;
  busy.beforeHead = async () => {
    if (++looks > 50) throw new Error("it never returns");
    // In the journal, but not in the store.
    await served.write(block.fill(looks), BLOCK);
    await served.sync();
    await served.write(block.fill(looks), 2 * BLOCK);
  };
  await served.write(block.fill(5), 0);
  await waitForStore(busy, "v", { journal });
  await using volume = await Volume.open("v", { store, readOnly: true });
  await volume.read(block, 0);
  assertEquals(block[0], 5);
}

Deno.test("waitForStore + a server that commits all the time + returns", async () => {
  await inFolder((at) => waitBesideCommits(at, at.journal));
});

Deno.test("waitForStore + a server that commits all the time, and cannot be asked + returns", async () => {
  await inFolder((at) => waitBesideCommits(at, `${at.journal}/${"long".repeat(30)}`));
});

Deno.test("waitForStore + a server whose socket is not there yet + is asked once it is", async () => {
  await inFolder(async ({ journal, journalSize }) => {
    const store = new MemoryStore();
    await Volume.create("v", { store, size: "4M" });
    // On a clock that stands still, only who is asked commits.
    const seam = { ...MACHINE, clock: () => 0 };
    await using served = await Volume.open("v", { store, journal, journalSize, seam });
    await served.write(new Uint8Array(BLOCK).fill(5), 0);
    await Deno.rename(doorIn(`${journal}/v`), `${journal}/v/away`);
    const busy = new BusyStore(store);
    let looks = 0;
    busy.beforeHead = async () => {
      if (++looks > 50) throw new Error("it never returns");
      if (looks === 5) await Deno.rename(`${journal}/v/away`, doorIn(`${journal}/v`));
    };
    await waitForStore(busy, "v", { journal });
    assert(looks > 5, "nothing is stored before");
    await using volume = await Volume.open("v", { store, readOnly: true });
    const block = new Uint8Array(BLOCK);
    await volume.read(block, 0);
    assertEquals(block[0], 5);
  });
});

/** Files of which the second batch of a journal is not there the first times that it is opened. */
function lateFiles(times: number): { readonly files: Files; readonly hasCome: Promise<void> } {
  const { promise: hasCome, resolve } = Promise.withResolvers<void>();
  let left = times;
  const open = (path: string, options?: OpenOptions) => {
    const file = realFiles.open(path, options);
    if (!path.endsWith("/journal-0000")) return file;
    if (left-- <= 0) {
      resolve();
      return file;
    }
    return {
      readAt(buffer: Uint8Array<ArrayBuffer>, offset: number) {
        const count = file.readAt(buffer, offset);
        const at = (position: number) => Math.min(Math.max(position - offset, 0), count);
        buffer.fill(0, at(3 * BLOCK), at(4 * BLOCK));
        return count;
      },
      [Symbol.dispose]: () => file.close(),
    } as File;
  };
  return { files: { ...realFiles, open }, hasCome };
}

/** Runs with a volume whose journal alone has three batches, and whose server cannot be asked. */
async function withBatches(
  run: (served: Volume, store: FaultyStore, journal: string) => Promise<void>,
): Promise<void> {
  await inFolder(async ({ journal, journalSize }) => {
    const store = new FaultyStore(new MemoryStore());
    await Volume.create("v", { store, size: "4M" });
    const served = await Volume.open("v", { store, journal, journalSize, patienceMs: 0 });
    // For a test that fails before it has closed it.
    await using _closed = { [Symbol.asyncDispose]: () => served.close().catch(() => {}) };
    store.faults = ({ name }) => name === "get" ? undefined : "unavailable";
    for (let nth = 0; nth < 3; nth++) {
      await served.write(new Uint8Array(BLOCK).fill(5), nth * BLOCK);
      await served.flush();
    }
    await Deno.remove(doorIn(`${journal}/v`));
    await run(served, store, journal);
  });
}

Deno.test("waitForStore + a batch that seems lost, and a server that cannot be asked + is no damage", async () => {
  await withBatches(async (served, store, journal) => {
    const { files, hasCome } = lateFiles(22);
    const waits = waitForStore(store, "v", { journal, files });
    await Promise.race([waits, hasCome]);
    store.faults = undefined;
    await waits;
    await using volume = await Volume.open("v", { store, readOnly: true });
    const block = new Uint8Array(BLOCK);
    await volume.read(block, 2 * BLOCK);
    assertEquals(block[0], 5);
    await served.close();
  });
});

Deno.test("waitForStore + a batch that is lost, and no server + is damage", async () => {
  await withBatches(async (served, store, journal) => {
    await assertRejects(() => served.close(), UblkError);
    // Without patience it may be over while an attempt to commit gives others their turn.
    for (let turn = 0; turn < 50; turn++) await turnOfEventLoop();
    const wait = (options: Partial<WaitForStoreOptions> = {}) => () =>
      waitForStore(store, "v", { journal, ...options });
    assertEquals((await assertRejects(wait(), UblkError)).code, "VOLUME_BUSY");
    const { files } = lateFiles(1);
    assertEquals((await assertRejects(wait({ files }), UblkError)).code, "VOLUME_DAMAGED");
  });
});
