/**
 * The Worker behind {@linkcode guardLocalThread}.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import type { ThreadResources } from "../queue/serving.ts";
import { neutralizeFd } from "../uring/libc.ts";
import { deleteDevice } from "./delete.ts";
import { lastWords } from "./last_words.ts";
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
  /** Whether the device is to stay, for another server to recover. */
  readonly keepDevice: boolean;
  /** The last words. */
  readonly message: string;
}

async function remove(order: WatchOrder): Promise<void> {
  if (!releaseByForce(order.control, order.resources)) return;
  lastWords(order.message);
  // The number stays taken: the stuck thread will close it if it ever gets on.
  neutralizeFd(order.charFd);
  if (order.keepDevice) return;
  await using control = await Control.open();
  await deleteDevice(control, order.device);
}

const scope = self as unknown as { onmessage: ((event: MessageEvent<WatchOrder>) => void) | null };

scope.onmessage = ({ data: order }) => {
  watchThread(order.control, () => {
    remove(order).catch((error) => lastWords(error.message));
  });
};
