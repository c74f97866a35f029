import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { open, volume as disk } from "../backends/volume.ts";
import { inFolder, type VolumeFolders } from "../tests/volumes/folders.ts";
import { UblkError } from "../uapi/error.ts";
import { unpackError } from "../uapi/packed_error.ts";
import { closeFd, eventFd } from "../uring/libc.ts";
import { VolumeCounters } from "./counters.ts";
import { Board, EngineSide } from "./drain/board.ts";
import type { FromDrain, TakenVolume, ToDrain } from "./drain/messages.ts";
import { Lease } from "./lease.ts";
import { MACHINE } from "./seam.ts";
import { Volume } from "./volume.ts";

const BLOCK = 4096;

/** The drain's thread of a volume, without an engine. */
class DrainThread implements Disposable {
  readonly board = new Board();
  readonly #wakeFd = eventFd(true);
  readonly engine = new EngineSide(this.board, this.#wakeFd);
  readonly #worker = new Worker(new URL("./drain/worker.ts", import.meta.url), { type: "module" });
  #next = Promise.withResolvers<FromDrain>();

  constructor() {
    this.#worker.onmessage = ({ data }) => this.#next.resolve(data);
  }

  async take({ store, journal }: VolumeFolders): Promise<TakenVolume> {
    const message = await this.tell({
      type: "take",
      order: {
        ...{ store, name: "v", folder: `${journal}/v`, segmentSize: 4 << 20, segments: 4 },
        ...{ withoutJournal: false, force: false, isDurableInStore: false, leaseMs: 0 },
        ...{ gcBandwidth: undefined, lease: new Lease(0, MACHINE.elapsed).memory, host: "test" },
        ...{ board: this.board.buffer, counters: new VolumeCounters().memory },
        wakeFd: this.#wakeFd,
      },
    });
    if (message.type === "ended") throw unpackError(message.error!);
    return message.volume;
  }

  /** Sends a message. @returns The answer. */
  async tell(message: ToDrain): Promise<FromDrain> {
    this.#next = Promise.withResolvers();
    this.#worker.postMessage(message);
    return await this.#next.promise;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
    closeFd(this.#wakeFd);
  }
}

/** The volume can be attached, and is as it was. */
async function checkFree({ store, journal, journalSize }: VolumeFolders): Promise<void> {
  const served = await open(disk("v", { store, journal, journalSize }).options);
  const block = new Uint8Array(BLOCK);
  await served.readAt(block, 0);
  assertEquals(block[0], 5);
  await served.close!();
}

/** Makes a volume with a block of data. */
async function makeVolume(at: VolumeFolders): Promise<void> {
  await Volume.create("v", { store: at.store, size: "4M" });
  await using volume = await Volume.open("v", at);
  await volume.write(new Uint8Array(BLOCK).fill(5), 0);
}

Deno.test("openServedVolume + it fails once the volume is taken + the journal is free again", async () => {
  await inFolder(async (at) => {
    await makeVolume(at);
    const { store, journal, journalSize } = at;
    using thread = new DrainThread();
    const { paths } = await thread.take(at);
    await thread.tell({ type: "leave" });
    await Deno.rename(paths[1], `${paths[1]}.away`);
    await Deno.mkdir(paths[1]);
    const { options } = disk("v", { store, journal, journalSize });
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await assertRejects(() => open(options), UblkError);
      assertEquals(error.code, "SYSCALL_FAILED", error.message);
    }
    await Deno.remove(paths[1]);
    await Deno.rename(`${paths[1]}.away`, paths[1]);
    await checkFree(at);
  });
});

Deno.test("openServedVolume + the map cannot be read + the journal is free again", async () => {
  await inFolder(async (at) => {
    await makeVolume(at);
    const { store, journal, journalSize, folder } = at;
    const runs = `${store}/v/maps`;
    await Deno.rename(runs, `${folder}/runs`);
    const { options } = disk("v", { store, journal, journalSize });
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await assertRejects(() => open(options), UblkError);
      assertEquals(error.code, "VOLUME_DAMAGED", error.message);
    }
    await Deno.rename(`${folder}/runs`, runs);
    await checkFree(at);
  });
});

Deno.test("the drain's thread + it fails before its loop + the engine learns of it, and the journal is free", async () => {
  await inFolder(async (at) => {
    await makeVolume(at);
    using thread = new DrainThread();
    const { from, paths } = await thread.take(at);
    await Deno.rename(paths[0], `${paths[0]}.away`);
    const message = await thread.tell({ type: "go", from, end: from });
    assertEquals(message.type, "ended");
    assertEquals(thread.engine.hasFailed, true);
    assertMatch(`${thread.engine.report()}`, /ENOENT/);
    await Deno.rename(`${paths[0]}.away`, paths[0]);
    await checkFree(at);
  });
});

Deno.test("the drain's thread + an error that nobody catches + the engine learns of it, and the journal is free", async () => {
  await inFolder(async (at) => {
    await makeVolume(at);
    using thread = new DrainThread();
    const { from } = await thread.take(at);
    const ended = thread.tell({ type: "go", from, end: from });
    const message = await Promise.race([ended, thread.tell(null as never)]);
    assertEquals(message.type, "ended");
    assertEquals(thread.engine.hasFailed, true);
    assertMatch(`${thread.engine.report()}`, /null/);
    await checkFree(at);
  });
});

Deno.test("the drain's thread + it is to leave a volume + nothing has changed, and the journal is free", async () => {
  await inFolder(async (at) => {
    await makeVolume(at);
    using thread = new DrainThread();
    await thread.take(at);
    assertEquals(await thread.tell({ type: "leave" }), { type: "ended" });
    assertEquals(thread.engine.hasFailed, false);
    await checkFree(at);
  });
});
