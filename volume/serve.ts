/**
 * Opens a volume for a serving thread: its engine here, its drain in a Worker.
 *
 * @module
 */

import { engineMemory } from "../disk/engine_memory.ts";
import type { File } from "../files/port.ts";
import { type RealFile, realFiles } from "../files/real.ts";
import { startTimer } from "../store/timer.ts";
import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { type PackedError, unpackError } from "../uapi/packed_error.ts";
import { closeFd, eventFd } from "../uring/libc.ts";
import { attachEngine, useUpRun } from "./attach.ts";
import type { CachePlace } from "./cache/options.ts";
import { VolumeCounters } from "./counters.ts";
import { ENGINE_SIZES } from "./sizes.ts";
import { Board, DrainSide, EngineSide, ORDER_STOP } from "./drain/board.ts";
import type { FromDrain, TakenVolume, TakeOrder, ToDrain } from "./drain/messages.ts";
import type { VolumeEngine } from "./engine.ts";
import type { JournalEnd } from "./journal/end.ts";
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
  /** How long requests wait for the store, in microseconds: less than their deadline. */
  readonly waitUs: number;
};

/** How long a new size may take to be durable, in milliseconds. */
const RESIZE_MS = 15_000;
/** How long the drain's thread may take to leave a volume that it was not told to drain, in milliseconds. */
const LEAVE_MS = 5000;
const STORE_AWAY: SizeRefusal = {
  reason: "the store has not taken it yet; blocks beyond the smaller size fail until it is decided",
  hint: "give the old or the new size again once the store is there",
};

/** A volume that is open. */
export interface ServedVolume {
  /** The state that its store had. */
  readonly volume: Omit<TakenVolume, "runs">;
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
  /**
   * The same, while this thread goes on. What is beyond the smaller size is not to be asked for before
   * it resolves.
   *
   * @throws {UblkError} As {@linkcode resize}.
   */
  resizeLater(size: number): Promise<void>;
  /** Has the journal brought into the store now, and not only once there is more of it. */
  hurry(): void;
  /** Drains all of it and leaves it in order. The engine must have no request. */
  close(): Promise<void>;
}

const fdOf = (file: File): number => (file as RealFile).fd;

/** Opens a volume. @throws {UblkError} */
export async function openServedVolume(options: ServeVolumeOptions): Promise<ServedVolume> {
  const { failsWhenFull, waitUs, cache, ...rest } = options;
  const { isDurableInStore } = options;
  await using stack = new AsyncDisposableStack();
  const wakeFd = eventFd();
  stack.defer(() => closeFd(wakeFd));
  const board = new Board();
  const counters = new VolumeCounters();
  const lease = new Lease(options.leaseMs, MACHINE.elapsed);
  const drain = new DrainWorker();
  stack.defer(() => drain.end());
  const { runs, ...volume } = await drain.take({
    ...{ ...rest, wakeFd, board: board.buffer, counters: counters.memory, lease: lease.memory },
  });
  const { manifest, identity, paths, from, epoch } = volume;
  const maps = new Maps(manifest.size / manifest.blockSize, manifest.blockSize);
  for (const run of runs) useUpRun(maps, run);
  const journal = openSegments(realFiles, paths, manifest.blockSize);
  for (const file of journal) stack.use(file);
  const side = new EngineSide(board, wakeFd);
  const report = (words: string) => console.error(words);
  const key = volume.key && stack.use(VolumeKey.fromShared(volume.key));
  const chunks = await servedChunks({
    ...{ name: options.name, store: options.store, objects: volume.objects, cache },
    ...{ manifest, copy: identity.copy, key, epoch, wakeFd, waitUs, counters, report, stack },
  });
  const { engine, end, drainFrom, batches } = attachEngine({
    ...{ identity, journal, epoch, maps, from, failsWhenFull, fdOf },
    ...{ isDurableInStore, waitUs, lease, key },
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
  drain.go(drainFrom, end);
  void drain.failure.then((error) => {
    if (error === undefined || side.hasFailed) return;
    // The thread could not say so itself.
    report(`${options.name}: its drain has ended: ${error.message}`);
    new DrainSide(board, wakeFd).ended();
  });
  const owned = stack.move();
  const resizeEngine = (size: number) => {
    const refusal = engine.resize(size / manifest.blockSize);
    if (refusal !== undefined) throw refusedSize(options.name, refusal);
  };
  const checkStored = (isStored: boolean) => {
    // The store may have taken it all the same, or take it later. So the engine keeps the new size:
    // what is written beyond a smaller one could be lost.
    if (!isStored) throw refusedSize(options.name, STORE_AWAY);
  };
  /** The sizes that are waited for, one after the other. */
  let resizing: Promise<unknown> = Promise.resolve();
  return {
    ...{ volume, engine, counters, maps, recovered: batches },
    resize(size) {
      resizeEngine(size);
      checkStored(side.resize(size, RESIZE_MS));
    },
    resizeLater(size) {
      const resized = resizing.then(async () => {
        resizeEngine(size);
        checkStored(await side.resizeLater(size, RESIZE_MS));
      });
      resizing = resized.catch(() => {});
      return resized;
    },
    hurry: () => side.hurry(),
    async close() {
      await resizing;
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
  readonly #taken = Promise.withResolvers<TakenVolume>();
  /** Resolves once it has ended: to the error that has ended it, or to undefined. */
  readonly #ended = Promise.withResolvers<PackedError | undefined>();
  /** It has a volume, and was not told to drain it. */
  #holds = false;

  constructor() {
    // Deno, bundlers and `deno compile` recognise the module by this form.
    const url = new URL("./drain/worker.ts", import.meta.url);
    this.#worker = new Worker(url, { type: "module", name: "ublk drain" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromDrain>) => {
      if (data.type === "ended") this.#end(data.error);
      else {
        this.#holds = true;
        this.#taken.resolve(data.volume);
      }
    };
    this.#worker.onerror = (event) => {
      // Otherwise the error would end the whole process.
      event.preventDefault();
      this.#end({ message: event.message });
    };
  }

  /** Resolves once it has ended, to the error that has ended it; undefined if it has left in order. */
  get failure(): Promise<PackedError | undefined> {
    return this.#ended.promise;
  }

  async take(order: TakeOrder): Promise<TakenVolume> {
    this.#post({ type: "take", order });
    return await this.#taken.promise;
  }

  /** @param end The end of what was recovered: it is durable. */
  go(from: JournalEnd, { position, sequence, chain, written }: JournalEnd): void {
    this.#holds = false;
    this.#post({ type: "go", from, end: { position, sequence, chain, written } });
  }

  /** Waits until it has ended. @throws {UblkError} The error that ended it. */
  async ended(): Promise<void> {
    const error = await this.#ended.promise;
    if (error !== undefined) throw unpackError(error);
  }

  /** Ends the thread. Its descriptors, one of which has the journal's lock, would outlive it. */
  async end(): Promise<void> {
    if (this.#holds) {
      this.#post({ type: "leave" });
      const late = Promise.withResolvers<void>();
      const cancel = startTimer(LEAVE_MS, late.resolve);
      await Promise.race([this.#ended.promise, late.promise]);
      cancel();
    }
    this.#worker.terminate();
  }

  #end(error: PackedError | undefined): void {
    this.#holds = false;
    if (error !== undefined) this.#taken.reject(unpackError(error));
    this.#ended.resolve(error);
  }

  #post(message: ToDrain): void {
    this.#worker.postMessage(message);
  }
}
