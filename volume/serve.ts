/**
 * Opens a volume for a serving thread: its engine here, its drain in a Worker.
 *
 * @module
 */

import { engineMemory } from "../disk/engine_memory.ts";
import type { File } from "../files/port.ts";
import { type RealFile, realFiles } from "../files/real.ts";
import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { unpackError } from "../uapi/packed_error.ts";
import { closeFd, eventFd } from "../uring/libc.ts";
import { attachEngine, enterRun } from "./attach.ts";
import type { CachePlace } from "./cache/options.ts";
import { VolumeCounters } from "./counters.ts";
import { ENGINE_SIZES } from "./sizes.ts";
import { Board, EngineSide, ORDER_STOP } from "./drain/board.ts";
import type { FromDrain, TakenVolume, TakeOrder, ToDrain } from "./drain/messages.ts";
import type { VolumeEngine } from "./engine.ts";
import { openSegments } from "./journal/files.ts";
import { Lease } from "./lease.ts";
import { Maps } from "./maps.ts";
import { MACHINE } from "./seam.ts";
import { VolumeKey } from "./seal/volume_key.ts";
import { servedChunks } from "./served_chunks.ts";
import type { SizeRefusal } from "./size_refusal.ts";

/** How to open a volume. */
export type ServeVolumeOptions = Omit<TakeOrder, "board" | "counters" | "lease" | "wakeFd"> & {
  /** The cache of chunks; undefined for none. */
  readonly cache: CachePlace | undefined;
  /** A full journal fails writes with ENOSPC, instead of making them wait. */
  readonly failsWhenFull: boolean;
  /** A FLUSH is answered only once the store has what it covers. */
  readonly isDurableInStore: boolean;
};

/** How long a full journal makes writes wait, in microseconds: less than a device's deadline. */
const WAIT_US = 25_000_000;
/** How long a new size may take to be durable, in milliseconds. */
const RESIZE_MS = 15_000;
const STORE_AWAY: SizeRefusal = {
  reason: "the store has not taken it yet; blocks beyond the smaller size fail until it is decided",
  hint: "give the old or the new size again once the store is there",
};

/** A volume that is open. */
export interface ServedVolume {
  /** The state that its store had. */
  readonly volume: TakenVolume;
  /** Batches that its journal had, and the store had not. */
  readonly recovered: number;
  /** Its counters. */
  readonly counters: VolumeCounters;
  /** The maps of the engine, to look up. */
  readonly maps: Pick<Maps, "extentAt">;
  /** The engine, for one host. */
  readonly engine: VolumeEngine;
  /**
   * Gives the disk another size in bytes, and blocks this thread until that is durable.
   *
   * @throws {UblkError} If it is to shrink below its data, which changes nothing; or if the store does
   *   not take it in time. It may do so later: until a size has been taken, blocks beyond the smaller
   *   one fail with EIO.
   */
  resize(size: number): void;
  /** Has the journal brought into the store now, and not only once there is more of it. */
  hurry(): void;
  /** Drains all of it and leaves it in order. The engine must have no request. */
  close(): Promise<void>;
}

const fdOf = (file: File): number => (file as RealFile).fd;

/** Opens a volume. @throws {UblkError} */
export async function openServedVolume(options: ServeVolumeOptions): Promise<ServedVolume> {
  const { failsWhenFull, isDurableInStore, cache, ...rest } = options;
  await using stack = new AsyncDisposableStack();
  const wakeFd = eventFd();
  stack.defer(() => closeFd(wakeFd));
  const board = new Board();
  const counters = new VolumeCounters();
  const lease = new Lease(options.leaseMs, MACHINE.elapsed);
  const drain = new DrainWorker();
  stack.defer(() => drain.end());
  const volume = await drain.take({
    ...{ ...rest, wakeFd, board: board.buffer, counters: counters.memory, lease: lease.memory },
  });
  const { manifest, identity, paths, from, epoch } = volume;
  const maps = new Maps(manifest.size / manifest.blockSize, manifest.blockSize);
  for (const run of volume.runs) enterRun(maps, run);
  const journal = openSegments(realFiles, paths, manifest.blockSize);
  for (const file of journal) stack.use(file);
  const side = new EngineSide(board, wakeFd);
  const report = (words: string) => console.error(words);
  const key = volume.key && stack.use(VolumeKey.fromShared(volume.key));
  const chunks = await servedChunks({
    ...{ name: options.name, store: options.store, objects: volume.objects, cache },
    ...{ manifest, key, epoch, wakeFd, counters, report, stack },
  });
  const { engine, end, drainFrom, batches } = attachEngine({
    ...{ identity, journal, epoch, maps, from, failsWhenFull, fdOf },
    ...{ isDurableInStore, waitUs: WAIT_US, lease, key },
    writesDurably: realFiles.hasCheapDurability(paths[0]),
    allocate: engineMemory,
    chunks,
    ...{ drain: side, counters },
    sizes: ENGINE_SIZES,
    words: `journal ${options.folder}`,
    report,
  });
  stack.defer(() => engine.close());
  // The drain must know what the journal had even if no host ever starts the engine. Otherwise closing
  // would give up the journal as one that the store has all of.
  side.published(end.position, end.sequence, end.written);
  drain.go(drainFrom);
  const owned = stack.move();
  return {
    ...{ volume, engine, counters, maps, recovered: batches },
    resize(size) {
      const refusal = engine.resize(size / manifest.blockSize);
      if (refusal !== undefined) throw refusedSize(options.name, refusal);
      if (side.resize(size, RESIZE_MS)) return;
      // The store may have taken it all the same, or take it later. So the engine keeps the new size:
      // what is written beyond a smaller one could be lost.
      throw refusedSize(options.name, STORE_AWAY);
    },
    hurry: () => side.hurry(),
    async close() {
      try {
        // Nobody takes over what a last commit has made durable: the maps are not needed any more.
        side.taken();
        board.order(ORDER_STOP);
        await drain.ended();
      } finally {
        await owned.disposeAsync();
      }
    },
  };
}

function refusedSize(name: string, refusal: SizeRefusal): UblkError {
  return new UblkError("VOLUME_STORE", { operation: `resize ${name}`, ...refusal, errno: EIO });
}

/** The drain's thread. */
class DrainWorker {
  readonly #worker: Worker;
  #resolve: ((message: FromDrain) => void) | undefined;
  /** The message that came while nobody waited. */
  #message: FromDrain | undefined;

  constructor() {
    // Deno, bundlers and `deno compile` recognise the module by this form.
    const url = new URL("./drain/worker.ts", import.meta.url);
    this.#worker = new Worker(url, { type: "module", name: "ublk drain" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromDrain>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      // Otherwise the error would end the whole process.
      event.preventDefault();
      const { message } = event;
      this.#receive({ type: "ended", error: { message } });
    };
  }

  async take(order: TakeOrder): Promise<TakenVolume> {
    this.#post({ type: "take", order });
    const message = await this.#next();
    if (message.type === "taken") return message.volume;
    throw unpackError(message.error!);
  }

  go(from: TakenVolume["from"]): void {
    this.#post({ type: "go", from });
  }

  /** Waits until it has ended. @throws {UblkError} The error that ended it. */
  async ended(): Promise<void> {
    const message = await this.#next();
    if (message.type === "ended" && message.error !== undefined) throw unpackError(message.error);
  }

  end(): void {
    this.#worker.terminate();
  }

  #post(message: ToDrain): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromDrain): void {
    if (this.#resolve === undefined) this.#message = message;
    else this.#resolve(message);
    this.#resolve = undefined;
  }

  #next(): Promise<FromDrain> {
    if (this.#message !== undefined) {
      const message = this.#message;
      this.#message = undefined;
      return Promise.resolve(message);
    }
    return new Promise((resolve) => this.#resolve = resolve);
  }
}
