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
import { signalEventFd } from "../../uring/libc.ts";
import { forbidCoreFiles } from "../../uring/process.ts";
import { readRun } from "../committed.ts";
import { openSegments } from "../journal/files.ts";
import type { JournalEnd } from "../journal/end.ts";
import { Lease } from "../lease.ts";
import { LeaseKeeper } from "../lease_keeper.ts";
import { VolumeCounters } from "../counters.ts";
import { MACHINE } from "../seam.ts";
import { JournalOpener } from "../seal/journal.ts";
import { innerOf, keyOf } from "../seal/sealed_store.ts";
import { unlocked } from "../seal/unlock.ts";
import { SpaceKeeper } from "../space/keeper.ts";
import { storeFailure } from "../store_like.ts";
import { type Taken, takeVolume } from "../take.ts";
import { wasAsked } from "./ask.ts";
import { Board, DrainSide } from "./board.ts";
import { Drainer } from "./drainer.ts";
import { drainLoop } from "./loop.ts";
import type { FromDrain, TakeOrder, ToDrain } from "./messages.ts";
import { COMMIT_BYTES } from "./policy.ts";
import { JournalSource } from "./source.ts";

/** Larger than any batch. */
const WINDOW_BYTES = 4 << 20;

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToDrain>) => void) | null;
  postMessage(message: FromDrain): void;
  close(): void;
}

const scope = self as unknown as WorkerScope;
let held: { store: Store; taken: Taken; lease: Lease; order: TakeOrder } | undefined;

async function take(order: TakeOrder): Promise<void> {
  if (order.key !== undefined) forbidCoreFiles();
  const store = await unlocked(await openStore(order.store), order.name, order.key);
  makeFolders(realFiles, order.folder);
  const lease = new Lease(order.leaseMs, MACHINE.elapsed, order.lease);
  const taken = await takeVolume({ ...order, store, files: realFiles, seam: MACHINE, lease });
  const { committed, identity, paths, from, lost } = taken;
  const { manifest, names, epoch } = committed;
  const runs = [];
  for (let nth = 0; nth < manifest.runs.length; nth++) {
    const { length, blocks, counts, places } = await readRun(store, names, manifest, nth);
    runs.push({ length, blocks, counts, places });
  }
  held = { store, taken, lease, order };
  const objects = store.localPath?.(names.head).slice(0, -names.head.length);
  scope.postMessage({
    type: "taken",
    volume: {
      ...{ manifest, runs, epoch, identity, paths, from, lost, objects },
      key: keyOf(store)?.toShared(),
    },
  });
}

async function drain(from: JournalEnd): Promise<void> {
  const { store, taken, lease, order } = held!;
  const { committed, identity, paths } = taken;
  const journal = openSegments(realFiles, paths, identity.blockSize);
  using data = engineMemory(COMMIT_BYTES);
  using room = engineMemory(WINDOW_BYTES);
  const words = `journal ${order.folder}`;
  const source = new JournalSource({
    ...{ files: journal, blockSize: identity.blockSize, size: identity.size, from },
    ...{ window: room.bytes, words },
    opener: new JournalOpener(keyOf(store), identity, words),
  });
  const counters = new VolumeCounters(order.counters);
  const board = new DrainSide(new Board(order.board), order.wakeFd);
  const written = () => board.published().written;
  const leaseKeeper = new LeaseKeeper({
    ...{ committed, lease, report: (words) => board.report(words) },
    regained: () => signalEventFd(order.wakeFd),
    lost: (error) => board.fail(`${error instanceof Error ? error.message : error}`),
  });
  leaseKeeper.start();
  const keeper = new SpaceKeeper({
    ...{ committed, counters, seam: MACHINE, bandwidth: order.gcBandwidth },
    report: (words) => board.report(words),
    onMoves: () => board.wake(),
  });
  const error = await drainLoop({
    ...{ board, keeper, wasAsked: () => wasAsked(realFiles, order.folder) },
    drainer: new Drainer({ committed, source, data: data.bytes, written, counters }),
    ...{ committed, counters, seam: MACHINE, position: from.position },
    // A small journal must not be full before the drain begins.
    commitBytes: Math.min(COMMIT_BYTES, identity.size * identity.files / 4),
  });
  await leaseKeeper.stop();
  await keeper.close();
  for (const file of journal) file.close();
  taken[Symbol.dispose]();
  await innerOf(store)[Symbol.asyncDispose]();
  if (error !== undefined) throw error;
}

/** Runs a step, and tells if it fails. */
async function attempt(step: () => Promise<void>): Promise<boolean> {
  try {
    await step();
    return true;
  } catch (error) {
    scope.postMessage({ type: "ended", error: packError(storeFailure(error)) });
    return false;
  }
}

scope.onmessage = async ({ data }) => {
  if (data.type === "take") await attempt(() => take(data.order));
  else if (await attempt(() => drain(data.from))) scope.postMessage({ type: "ended" });
};
