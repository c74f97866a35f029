/**
 * A Worker that makes snapshots of a volume, one after the other, while another thread writes.
 *
 * @module
 */

import { createSnapshot } from "../volume/snapshots.ts";

/** The snapshots to make. */
export interface SnapshotOrder {
  /** The folder or URL of the store. */
  readonly store: string;
  /** The folder for journals. */
  readonly journal: string;
  /** The volume. */
  readonly name: string;
  /** Their number. */
  readonly count: number;
  /** Its first word is 1 once they are made. */
  readonly isOver: SharedArrayBuffer;
}

interface WorkerScope {
  onmessage: (event: MessageEvent<SnapshotOrder>) => void;
  postMessage(message: "ready" | number[]): void;
}

const scope = self as unknown as WorkerScope;

scope.onmessage = async ({ data: { store, journal, name, count, isOver } }) => {
  const tookMs: number[] = [];
  try {
    for (let nth = 0; nth < count; nth++) {
      const start = performance.now();
      await createSnapshot(store, name, `s${nth}`, { journal });
      tookMs.push(performance.now() - start);
    }
  } finally {
    Atomics.store(new Int32Array(isOver), 0, 1);
  }
  scope.postMessage(tookMs);
};
scope.postMessage("ready");
