/**
 * A thread that opens the backend of a specification and writes to it, as a serving Worker would.
 *
 * @module
 */

import { loadBackend } from "../disk/load.ts";
import type { BackendSpec } from "../disk/spec.ts";

/** The work of the thread. */
export interface MockWork {
  readonly spec: BackendSpec;
  readonly queue: number;
  readonly writes: number;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = async ({ data }) => {
  const { spec, queue, writes }: MockWork = data;
  const loaded = await loadBackend(spec);
  const backend = await loaded.open(queue, await loaded.share());
  const buffer = new Uint8Array(512).fill(queue + 1);
  // All threads start at the same time.
  scope.postMessage(loaded.sharing);
  await new Promise((resolve) => scope.onmessage = resolve);
  for (let write = 0; write < writes; write++) {
    await backend.writeAt(buffer, (queue * writes + write) * 512, { fua: false });
  }
  scope.postMessage("done");
};
