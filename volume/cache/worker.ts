/**
 * The Worker that fetches for a volume's engine. It has a connection to the store of its own, so that
 * readers do not wait for the drain.
 *
 * @module
 */

import { openStore } from "../../store/open.ts";
import { StoreError } from "../../store/store.ts";
import { UblkError } from "../../uapi/error.ts";
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
  scope.postMessage({ type: "ready" });
  for (;;) {
    const { wakes } = board;
    if (board.isStopped) break;
    fetches.begin();
    await board.sleep(wakes);
  }
  fetches.stop();
}

function told(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  return new UblkError("VOLUME_STORE", { operation: "the volume's store", reason: error.message });
}

scope.onmessage = async ({ data }) => {
  try {
    await work(data);
    scope.postMessage({ type: "ended" });
  } catch (error) {
    scope.postMessage({ type: "ended", error: packError(told(error)) });
  }
};
