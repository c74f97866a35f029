/**
 * The Worker in which a volume's drain runs. It holds the store; the engine's thread never waits for
 * it.
 *
 * @module
 */

import { engineMemory } from "../../disk/engine_memory.ts";
import { realFiles } from "../../files/real.ts";
import { makeFolders } from "../../store/directory.ts";
import { openStore } from "../../store/open.ts";
import type { Store } from "../../store/store.ts";
import { packError } from "../../uapi/packed_error.ts";
import { signalEventFd, turnOfEventLoop } from "../../uring/libc.ts";
import { forbidCoreFiles } from "../../uring/process.ts";
import { readRun } from "../state.ts";
import { openSegments } from "../journal/files.ts";
import { leaveJournal } from "../journal/identity.ts";
import type { JournalEnd } from "../journal/end.ts";
import { Lease } from "../lease.ts";
import { LeaseKeeper } from "../lease_keeper.ts";
import { VolumeCounters } from "../counters.ts";
import { MACHINE } from "../seam.ts";
import { JournalOpener } from "../seal/journal.ts";
import { keyOf } from "../opened_store.ts";
import { unlocked } from "../seal/unlock.ts";
import { openDoor } from "../marks/door.ts";
import { Marks } from "../marks/marks.ts";
import { SpaceKeeper } from "../space/keeper.ts";
import { GarbageWatch } from "../space/watch.ts";
import { storeFailure } from "../store_like.ts";
import { type Taken, takeVolume } from "../take.ts";
import { Board, DrainSide } from "./board.ts";
import { Drainer } from "./drainer.ts";
import { drainLoop } from "./loop.ts";
import type { FromDrain, TakeOrder, ToDrain } from "./messages.ts";
import { COMMIT_BYTES } from "./policy.ts";
import { JournalSource } from "./source.ts";
import { BesideDrain } from "./beside.ts";

/** Larger than any batch. */
const WINDOW_BYTES = 4 << 20;

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToDrain>) => void) | null;
  postMessage(message: FromDrain, transfer?: Transferable[]): void;
  close(): void;
}

const scope = self as unknown as WorkerScope;
/** A volume that has been taken. */
interface Held {
  readonly store: Store;
  readonly taken: Taken;
  readonly lease: Lease;
  readonly order: TakeOrder;
  /** Closes all of it. Whatever happens, the journal's lock goes after all that it protects. */
  readonly stack: AsyncDisposableStack;
}

let held: Held | undefined;
/** The board, once there is one. */
let board: DrainSide | undefined;

async function take(order: TakeOrder): Promise<void> {
  board = new DrainSide(new Board(order.board), order.wakeFd);
  if (order.key !== undefined) forbidCoreFiles();
  await using stack = new AsyncDisposableStack();
  const beside = stack.use(new BesideDrain());
  const opened = stack.use(await openStore(order.store, { beside }));
  const store = await unlocked(opened, order.name, order.key);
  makeFolders(realFiles, order.folder);
  const lease = new Lease(order.leaseMs, MACHINE.elapsed, order.lease);
  const taken = stack.use(
    await takeVolume({ ...order, store, files: realFiles, seam: MACHINE, lease }),
  );
  const { committed, identity, paths, from, lost, removed } = taken;
  const { manifest, names, epoch } = committed;
  const runs = [];
  // A copy would stay here, as garbage that an idle thread does not collect.
  const moved: Transferable[] = [];
  for (let nth = 0; nth < manifest.runs.length; nth++) {
    const { length, blocks, counts, places } = await readRun(store, names, manifest, nth);
    runs.push({ length, blocks, counts, places });
    moved.push(blocks.buffer, counts.buffer, places.buffer);
  }
  held = { store, taken, lease, order, stack: stack.move() };
  const objects = store.localPath?.(names.head).slice(0, -names.head.length);
  scope.postMessage({
    type: "taken",
    volume: {
      ...{ manifest, runs, epoch, identity, paths, from, lost, removed, objects },
      key: keyOf(store)?.toShared(),
    },
  }, moved);
}

/** Closes what is held. */
async function close(): Promise<void> {
  const stack = held?.stack;
  held = undefined;
  await stack?.disposeAsync();
}

async function drain(board: DrainSide, from: JournalEnd, recovered: JournalEnd): Promise<void> {
  const { store, taken, lease, order, stack } = held!;
  const { committed, identity, paths } = taken;
  const journal = openSegments(realFiles, paths, identity.blockSize);
  for (const file of journal) stack.use(file);
  // Not the stack's: the loop may still be at work when an error that nobody caught has all closed.
  using data = engineMemory(COMMIT_BYTES);
  using room = engineMemory(WINDOW_BYTES);
  const words = `journal ${order.folder}`;
  const source = new JournalSource({
    ...{ files: journal, blockSize: identity.blockSize, size: identity.size, from },
    ...{ window: room.bytes, words },
    opener: new JournalOpener(keyOf(store), identity, words),
  });
  const counters = new VolumeCounters(order.counters);
  const written = () => board.published().written;
  const keeper = new SpaceKeeper({
    ...{ committed, counters, seam: MACHINE, bandwidth: order.gcBandwidth },
    report: (words) => board.report(words),
    onMoves: () => board.wake(),
  });
  stack.defer(() => keeper.close());
  let lost: unknown;
  const leaseKeeper = new LeaseKeeper({
    ...{ committed, lease, report: (words) => board.report(words) },
    regained: () => signalEventFd(order.wakeFd),
    lost(error) {
      // At once: the loop may be waiting for the store.
      board.fail(wordsOf(error));
      void keeper.close();
      lost = error;
      board.wake();
    },
  });
  stack.defer(() => leaseKeeper.stop());
  leaseKeeper.start();
  const marks = stack.use(
    new Marks({
      ...{ files: realFiles, folder: order.folder, identity, journal, committed, seam: MACHINE },
      ...{ recovered, published: () => board.published() },
      hasJournalFailed: () => board.hasJournalFailed,
      ...{ isDurableInStore: order.isDurableInStore, lease },
      report: (words) => board.report(words),
    }),
  );
  stack.use(openDoor(realFiles, order.folder, {
    snapshot(request, answer) {
      marks.snapshot(request, answer);
      // At once: the loop may be waiting for the store, and the engine must not answer FLUSHes meanwhile.
      if (marks.failure !== undefined) board.fail(wordsOf(marks.failure));
      board.wake();
    },
    all() {
      marks.all();
      board.wake();
      return board.published().sequence;
    },
    collect(manifest) {
      keeper.ask(manifest);
    },
  }));
  const watch = new GarbageWatch({ committed, keeper });
  stack.defer(() => watch.close());
  const error = await drainLoop({
    ...{ board, keeper, marks, lost: () => lost },
    drainer: new Drainer({
      committed,
      source,
      data: data.bytes,
      written,
      counters,
      marks,
      turn: turnOfEventLoop,
    }),
    ...{ committed, counters, seam: MACHINE, position: from.position },
    // A small journal must not be full before the drain begins.
    commitBytes: Math.min(COMMIT_BYTES, identity.size * identity.files / 4),
  });
  // At once: until then the next attachment takes the journal for one that went on without the volume.
  if (error === undefined) leaveJournal(realFiles, order.folder, identity);
  marks.end();
  await leaseKeeper.stop();
  await keeper.close();
  if (error !== undefined) throw error;
}

function wordsOf(error: unknown): string {
  return `${error instanceof Error ? error.message : error}`;
}

/** Runs a step, and tells if it fails: nothing is held then. */
async function attempt(step: () => Promise<void>): Promise<boolean> {
  try {
    await step();
    return true;
  } catch (error) {
    await end(error);
    return false;
  }
}

/** Nothing will be drained: the engine must not wait for that. */
async function end(error: unknown): Promise<void> {
  board?.fail(wordsOf(error));
  await close().catch(() => {});
  scope.postMessage({ type: "ended", error: packError(storeFailure(error)) });
}

/** An error that nobody has caught would end this thread, and leave the lock to the process. */
function uncaught(event: Event, error: unknown): void {
  event.preventDefault();
  void end(error).then(() => scope.close());
}

self.addEventListener("error", (event) => uncaught(event, event.error));
self.addEventListener("unhandledrejection", (event) => uncaught(event, event.reason));

scope.onmessage = async ({ data }) => {
  if (data.type === "take") await attempt(() => take(data.order));
  else {
    const step = async () => {
      if (data.type === "go") await drain(board!, data.from, data.end);
      await close();
    };
    if (await attempt(step)) scope.postMessage({ type: "ended" });
  }
};
