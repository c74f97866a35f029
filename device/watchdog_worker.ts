/**
 * The Worker behind {@linkcode guardLocalThread}.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import type { ThreadResources } from "../queue/serving.ts";
import { closeFd, exitNow } from "../uring/libc.ts";
import { releaseByForce } from "./teardown.ts";
import { watchThread } from "./watch.ts";

/** What to watch and what to do about it. */
export interface WatchOrder {
  /** The watched thread's control block. */
  readonly control: SharedArrayBuffer;
  /** The device that it serves. */
  readonly device: number;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** What the thread holds. */
  readonly resources: ThreadResources;
  /** The last words. */
  readonly message: string;
}

/** How long the removal of the device may take before the process ends anyway. */
const REMOVAL_MS = 5000;

async function remove(order: WatchOrder): Promise<void> {
  console.error(`error: ${order.message}`);
  // The stuck thread will never touch its ring again: this process ends below, whatever happens.
  setTimeout(() => exitNow(1), REMOVAL_MS);
  try {
    releaseByForce(order.resources);
    closeFd(order.charFd);
    await using control = await Control.open();
    await control.delDev(order.device, { timeoutMs: REMOVAL_MS });
  } finally {
    exitNow(1);
  }
}

const scope = self as unknown as { onmessage: ((event: MessageEvent<WatchOrder>) => void) | null };

scope.onmessage = ({ data: order }) => {
  watchThread(order.control, () => void remove(order));
};
