/**
 * Puts a volume together in the thread of a program: store, journal, engine, host and drain.
 *
 * ```
 *  Volume ──▶ LoopHost ──▶ VolumeEngine ──▶ Drainer, when DrainPace says so ──▶ Store
 *                │              │
 *                └── FileOperations ──▶ the journal's files, the chunks' files
 * ```
 *
 * @module
 */

import type { Engine } from "../disk/engine.ts";
import type { File, Files } from "../files/port.ts";
import { makeFolders } from "../store/directory.ts";
import { mayPass, retried } from "../store/retry.ts";
import type { Store } from "../store/store.ts";
import { UblkError } from "../uapi/error.ts";
import { turnOfEventLoop } from "../uring/libc.ts";
import { attachEngine, loadMaps } from "./attach.ts";
import { catalogOf } from "./catalog.ts";
import { VolumeCounters } from "./counters.ts";
import type { EngineSizes } from "./sizes.ts";
import { stateOf } from "./state.ts";
import { DrainPace } from "./drain/pace.ts";
import { COMMIT_BYTES } from "./drain/policy.ts";
import { Drainer } from "./drain/drainer.ts";
import { JournalSource } from "./drain/source.ts";
import type { Head } from "./format/head.ts";
import type { Manifest } from "./format/manifest.ts";
import { NO_UUID } from "./format/record.ts";
import { type FileOperations, fileOperations } from "./file_operations.ts";
import { batchMemoryBytes } from "./journal/batch_layout.ts";
import { openSegments, segmentPaths } from "./journal/files.ts";
import { leaveJournal, readIdentity } from "./journal/identity.ts";
import { recoverJournal } from "./journal/recover.ts";
import { Lease } from "./lease.ts";
import { openDoor } from "./marks/door.ts";
import { Marks } from "./marks/marks.ts";
import { LeaseKeeper } from "./lease_keeper.ts";
import { LoopHost } from "./loop_host.ts";
import type { Maps } from "./maps.ts";
import { ObjectNames } from "./names.ts";
import { loopChunks } from "./loop_chunks.ts";
import { ReadOnlyEngine, type ReadOnlyParts } from "./read_only.ts";
import { JournalOpener } from "./seal/journal.ts";
import { keyOf } from "./opened_store.ts";
import type { Seam } from "./seam.ts";
import { keptState, unkeptWords } from "./snapshots.ts";
import { SpaceKeeper } from "./space/keeper.ts";
import { GarbageWatch } from "./space/watch.ts";
import type { JournalShape } from "./shape.ts";
import type { LostJournal } from "./lost.ts";
import { endOf, lockFolder, missingJournal, takeVolume } from "./take.ts";

/** Most bytes of one request; longer ones are cut into pieces. */
const REQUEST_BYTES = 256 << 10;
/** Requests that the engine has at once; more wait. */
const REQUESTS = 64;
/** Memory to read the journal with. */
const WINDOW_BYTES = 4 << 20;
/** How long a close waits at last for what is under way, in milliseconds. */
const LAST_MS = 1000;

/** Checked options of an opening. */
export interface OpenParts {
  /** The volume's name. */
  readonly name: string;
  /** One of its snapshots, which only a reader may have. */
  readonly snapshot?: string;
  /** The store. It stays open. */
  readonly store: Store;
  /** The folder of the volume's journal; undefined for none, which only a reader may have. */
  readonly folder: string | undefined;
  /** The shape of a journal that is to be made, for blocks of a size. */
  readonly journalShape: (blockSize: number) => JournalShape;
  /** Go on without the journal. */
  readonly withoutJournal: boolean;
  /** Without the journal: do not wait for the lease of whoever has the volume. */
  readonly force: boolean;
  /** The lease in milliseconds; 0 for none. */
  readonly leaseMs: number;
  /** Most bytes in a second that are read of chunks whose data is moved; undefined for no limit. */
  readonly gcBandwidth: number | undefined;
  /** A full journal fails writes. */
  readonly failsWhenFull: boolean;
  /** A flush is answered only once the store has what it covers. */
  readonly isDurableInStore: boolean;
  /** The cache of chunks; undefined for none. */
  readonly cache: { readonly path: string; readonly size: number } | undefined;
  /** How long closing may take, in milliseconds. */
  readonly patienceMs: number;
  /** The files of this machine. */
  readonly files: Files;
  /** Time and randomness. */
  readonly seam: Seam;
  /** Who opens it, in words. */
  readonly host: string;
  /** Sizes of the engine. */
  readonly sizes: EngineSizes;
  /** Takes a line for the log. Never called within a call of the engine. */
  readonly report: (words: string) => void;
}

/** A volume that is open. */
export interface OpenedVolume {
  /** The disk's size in bytes, its block's, and when the store's state was written. */
  readonly manifest: Manifest;
  /** Where everything is. */
  readonly maps: Maps;
  /** Takes requests. */
  readonly host: LoopHost;
  /** Its counters. */
  readonly counters: VolumeCounters;
  /** The loss, if it was opened without its journal. */
  readonly lost?: LostJournal;
  /** Why it takes no writes any more, if so. */
  readonly stopped: UblkError | undefined;
  /** Resolves once the store has everything that was answered before. */
  sync(): Promise<void>;
  /** Drains everything and leaves the volume in order. No request may be made any more. */
  close(): Promise<void>;
}

/** An engine with what a host does for it beyond the interface. */
interface VolumesEngine extends Engine {
  woken(): void;
  close(): void;
}

/** Opens a volume for reading and writing. */
export async function openForWriting(
  parts: OpenParts & { readonly folder: string },
): Promise<OpenedVolume> {
  const { files, store, folder, report, seam, sizes, name, failsWhenFull, isDurableInStore } =
    parts;
  await using stack = new AsyncDisposableStack();
  const operations = stack.use(fileOperations(files));
  const names = new ObjectNames(name);
  const { manifest } = await stateOf(store, names);
  makeFolders(files, folder);
  const lease = new Lease(parts.leaseMs, seam.elapsed);
  const taken = stack.use(
    await takeVolume({ ...parts, lease, ...parts.journalShape(manifest.blockSize) }),
  );
  const { committed, identity, paths, from } = taken;
  if (taken.removed !== undefined) report(taken.removed);
  const maps = await loadMaps(committed);
  const host = makeHost(operations, report);
  const counters = new VolumeCounters();
  const pace: DrainPace = new DrainPace({
    ...{ seam, report, counters, wake: () => host.wake() },
    onStop() {
      host.giveUp();
      void keeper.close();
    },
    onCommit: (extents) => keeper.handedOver(extents),
    takeMoves: () => keeper.takeMoves(),
    catchUp: () => keeper.catchUp(),
    marks: () => marks,
    // The engine is at work.
    onQuiet: (commits) => queueMicrotask(() => keeper.quiet(commits)),
  });
  const keeper = new SpaceKeeper({
    ...{ committed, counters, seam, report, bandwidth: parts.gcBandwidth },
    onMoves: () => pace.moves(),
  });
  let made: VolumesEngine | undefined = undefined;
  const chunks = loopChunks({
    ...{ ...parts, names, operations, manifest, epoch: committed.epoch, copy: identity.copy },
    counters,
    came: () => host.tell(() => made?.woken()),
  });
  const journal = openAll(stack, () => openSegments(files, paths, identity.blockSize));
  const words = `journal ${folder}`;
  const { engine, end, drainFrom } = attachEngine({
    ...{ identity, journal, maps, from, failsWhenFull, isDurableInStore, words, report },
    ...{ fdOf: operations.fdOf, allocate: operations.allocate, epoch: committed.epoch },
    ...{ drain: pace, counters, chunks: chunks.reads, sizes, lease, key: keyOf(store) },
    writesDurably: files.hasCheapDurability(paths[0]),
  });
  made = engine;
  stack.defer(() => engine.close());
  const { blockSize, size } = identity;
  const batch = batchMemoryBytes(sizes.batchData, blockSize);
  const drained = openAll(stack, () => openSegments(files, paths, identity.blockSize));
  const marks: Marks = stack.use(
    new Marks({
      ...{ files, folder, identity, committed, isDurableInStore, lease, seam, report },
      journal: drained,
      ...{ recovered: end, published: () => pace.last },
      hasJournalFailed: () => pace.hasJournalFailed,
    }),
  );
  const drainer = new Drainer({
    ...{ committed, counters, written: () => pace.written, marks, turn: turnOfEventLoop },
    source: new JournalSource({
      ...{ blockSize, size, words, from: drainFrom },
      opener: new JournalOpener(keyOf(store), identity, words),
      files: drained,
      window: operations.allocate(Math.max(WINDOW_BYTES, 2 * batch)).bytes,
    }),
    data: new Uint8Array(Math.max(batch, Math.min(COMMIT_BYTES, size * identity.files))),
  });
  host.serve(engine);
  pace.start(drainer, drainFrom, end);
  stack.use(openDoor(files, folder, {
    snapshot(request, answer) {
      marks.snapshot(request, answer);
      pace.asked();
    },
    all() {
      marks.all();
      pace.asked();
      return pace.last.sequence;
    },
    collect(manifest) {
      keeper.ask(manifest);
    },
  }));
  const leaseKeeper = new LeaseKeeper({
    ...{ committed, lease, report, regained: () => host.wake(), lost: (error) => pace.fail(error) },
  });
  leaseKeeper.start();
  const watch = new GarbageWatch({ committed, keeper });
  const owned = stack.move();
  return {
    ...{ maps, host, counters, lost: taken.lost },
    get manifest() {
      return committed.manifest;
    },
    get stopped() {
      return pace.stopped;
    },
    async sync() {
      await pace.sync();
    },
    async close() {
      const late = lateness(parts.patienceMs);
      try {
        await late.orBefore(drainAll(host, pace), () => notDrained(name, pace.failure));
        // Data may be waiting to be moved: nothing is committed beside the release, or after it.
        await late.orBefore(pace.close(), () => notDrained(name, pace.failure));
        await late.orBefore(leaseKeeper.stop(), () => notDrained(name, pace.failure));
        marks.end();
        await late.orBefore(
          retried(() => drainer.enter(), { withinMs: parts.patienceMs, mayPass }),
          () => notDrained(name, pace.failure),
        );
        await late.orBefore(
          retried(() => committed.release(), { withinMs: parts.patienceMs, mayPass }),
          () => notDrained(name, pace.failure),
        );
        leaveJournal(files, folder, identity);
      } catch (error) {
        host.giveUp();
        throw error;
      } finally {
        late.cancel();
        // What is under way mostly ends at once: without this it went on after the close. Only a call of
        // the store that never returns is left: it can harm nobody.
        const last = lateness(LAST_MS);
        await last.orBefore(pace.close(), () => undefined).catch(() => {});
        await last.orBefore(leaseKeeper.stop(), () => undefined).catch(() => {});
        await last.orBefore(watch.close(), () => undefined);
        await last.orBefore(keeper.close(), () => undefined);
        last.cancel();
        await host.idle();
        host.end();
        chunks.stop();
        await owned.disposeAsync();
      }
    },
  };
}

async function drainAll(host: LoopHost, pace: DrainPace): Promise<void> {
  await host.idle();
  if (pace.stopped !== undefined) throw pace.stopped;
  await pace.sync();
}

function notDrained(name: string, failure: string): UblkError {
  return new UblkError("VOLUME_STORE", {
    operation: `close ${name}`,
    reason: `the store has not taken everything${failure === "" ? "" : `: ${failure}`}`,
    hint: "nothing is lost: the journal has it; open the volume with the same journal again",
  });
}

/** Opens a volume for reading. It stays as it is, whoever writes to it. */
export async function openForReading(parts: OpenParts): Promise<OpenedVolume> {
  const { files, store, report, name, snapshot, seam } = parts;
  await using stack = new AsyncDisposableStack();
  const operations = stack.use(fileOperations(files));
  const names = new ObjectNames(name);
  const kept = await keptState(store, { volume: name, snapshot }, parts.host, seam);
  stack.defer(() => kept.release());
  const { head, manifest } = kept;
  if (kept.unkept !== undefined) report(unkeptWords(name, kept.unkept));
  const { copy } = await catalogOf(store, names, manifest.volume);
  const maps = await loadMaps({ store, names, manifest });
  const journal = readJournal(parts, operations, stack, head, manifest, maps);
  const host = makeHost(operations, report);
  const counters = new VolumeCounters();
  let made: VolumesEngine | undefined = undefined;
  const chunks = loopChunks({
    ...{ ...parts, names, operations, manifest, epoch: head.epoch, copy },
    counters,
    came: () => host.tell(() => made?.woken()),
  });
  const engine = new ReadOnlyEngine({
    ...{ blockSize: manifest.blockSize, maps, report, counters, chunks: chunks.reads, ...journal },
  });
  made = engine;
  stack.defer(() => engine.close());
  host.serve(engine);
  const owned = stack.move();
  return {
    ...{ manifest, maps, host, counters, stopped: undefined },
    sync: () => Promise.resolve(),
    async close() {
      await host.idle();
      host.end();
      chunks.stop();
      await owned.disposeAsync();
    },
  };
}

/** Reads what the journal has beyond the store, and keeps it from being used by others. */
function readJournal(
  parts: OpenParts,
  operations: FileOperations,
  stack: AsyncDisposableStack,
  head: Head,
  manifest: Manifest,
  maps: Maps,
): Pick<ReadOnlyParts, "fds" | "sums" | "seals" | "segmentSize" | "words"> {
  const { files, folder, name, snapshot } = parts;
  const words = `journal ${folder}`;
  const none = { fds: [], sums: [], segmentSize: manifest.blockSize, words };
  const hasNone = folder === undefined || snapshot !== undefined || head.journal === NO_UUID;
  if (hasNone) return none;
  if (files.status(folder) !== undefined) {
    stack.use(lockFolder(files, folder));
    const identity = readIdentity(files, folder);
    if (identity?.journal === head.journal) {
      const paths = segmentPaths(files, folder);
      const opened = openAll(stack, () => paths.map((path) => files.open(path)));
      const { size, journal, blockSize, volume } = identity;
      const { sums, seals } = recoverJournal({
        ...{ files: opened, volume, journal, blockSize, size, maps },
        ...{ from: endOf(manifest), words, key: keyOf(parts.store) },
      });
      return { fds: opened.map(operations.fdOf), sums, seals, segmentSize: size, words };
    }
  }
  if (parts.withoutJournal) return none;
  throw missingJournal({ folder, name }, head);
}

function makeHost(operations: FileOperations, report: (words: string) => void): LoopHost {
  return new LoopHost({ operations, requests: REQUESTS, requestBytes: REQUEST_BYTES, report });
}

function openAll(stack: AsyncDisposableStack, open: () => File[]): File[] {
  const files = open();
  for (const file of files) stack.use(file);
  return files;
}

/** A limit of time for several steps. */
function lateness(ms: number) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  return {
    /** Waits for work, but not for longer than there is time. */
    orBefore: (work: Promise<void>, error: () => UblkError | undefined): Promise<void> =>
      Promise.race([
        work,
        promise.then(() => {
          const late = error();
          if (late !== undefined) throw late;
        }),
      ]),
    cancel: () => clearTimeout(timer),
  };
}
