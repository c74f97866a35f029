/**
 * The Worker that fetches for a volume's engine. It has a connection to the store of its own, so that
 * readers do not wait for the drain.
 *
 * @module
 */

import { openStore } from "../../store/open.ts";
import { StoreError } from "../../store/store.ts";
import { thrownText, UblkError } from "../../uapi/error.ts";
import { packError } from "../../uapi/packed_error.ts";
import { signalEventFd } from "../../uring/libc.ts";
import { bufferAt } from "../../uring/mapping.ts";
import { ObjectNames } from "../names.ts";
import { ownerOfChunk } from "../owners.ts";
import { FetchBoard } from "./fetch_board.ts";
import { Fetches, MACHINE_TIME } from "./fetch.ts";
import type { FetchJob, FromFetcher } from "./messages.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<FetchJob>) => void) | null;
  postMessage(message: FromFetcher): void;
}

const scope = self as unknown as WorkerScope;
/** The work, once there is some. */
let atWork:
  | { readonly job: FetchJob; readonly board: FetchBoard; readonly fetches: Fetches }
  | undefined;

async function work(job: FetchJob): Promise<void> {
  await using store = await openStore(job.store);
  const board = new FetchBoard(job.board);
  const names = new ObjectNames(job.name);
  const fetches = new Fetches({
    ...{ board, line: job.line, store, time: MACHINE_TIME },
    memory: new Uint8Array(bufferAt(job.memory.address, job.memory.bytes)),
    ownerOf: (chunk) => ownerOfChunk(names, job, chunk),
    signal: () => signalEventFd(job.wakeFd),
  });
  atWork = { job, board, fetches };
  scope.postMessage({ type: "ready" });
  for (;;) {
    const { wakes } = board;
    if (board.isStopped || board.hasFailed) break;
    fetches.begin();
    await board.sleep(wakes);
  }
  fetches.stop();
}

/** Nothing is fetched any more: readers must not wait for it. */
function fail({ job, board, fetches }: NonNullable<typeof atWork>, error: unknown): void {
  // First of all: the engine gives the places to others.
  fetches.stop();
  // Once it has stopped this thread, its eventfd may be another file's.
  if (board.isStopped || board.hasFailed) return;
  board.fail(
    `${job.name}: the thread that fetches from the store has ended: ${thrownText(error)}; ` +
      "reads that need the store fail: attach the volume again",
  );
  // This thread too: it leaves the store in order.
  board.wake();
  signalEventFd(job.wakeFd);
}

/** An error that nobody has caught would end this thread, and nobody would learn of it. */
function uncaught(event: Event, error: unknown): void {
  // Before there is work, the engine's thread waits for it.
  if (atWork === undefined) return;
  event.preventDefault();
  fail(atWork, error);
}

self.addEventListener("error", (event) => uncaught(event, event.error));
self.addEventListener("unhandledrejection", (event) => uncaught(event, event.reason));

function told(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  return new UblkError("VOLUME_STORE", { operation: "the volume's store", reason: error.message });
}

scope.onmessage = async ({ data }) => {
  try {
    await work(data);
    scope.postMessage({ type: "ended" });
  } catch (error) {
    if (atWork !== undefined) fail(atWork, error);
    scope.postMessage({ type: "ended", error: packError(told(error)) });
  }
};
