/**
 * The Worker behind {@linkcode guardLocalThread}, one for all devices of a thread.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import type { ThreadResources } from "../queue/serving.ts";
import { neutralizeFd } from "../uring/libc.ts";
import { poolAtRest } from "../uring/poller.ts";
import { endAtOnce, type EndSignal, SIGNAL_NUMBERS } from "../uring/signals.ts";
import { deleteDevice } from "./delete.ts";
import { lastWords } from "./last_words.ts";
import { releaseByForce } from "./teardown.ts";
import { watchThread } from "./watch.ts";

/** A thread to watch, and what to do if it is stuck. */
export interface WatchOrder {
  /** The watched thread's control block. */
  readonly control: SharedArrayBuffer;
  /** The eventfd that its ring signals. */
  readonly completionsFd: number;
  /** The device that it serves. */
  readonly device: number;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** The thread's resources. */
  readonly resources: ThreadResources;
  /** Whether the device stays, for another server to recover. */
  readonly keepDevice: boolean;
  /** A bit mask of the signals that the thread listens for. */
  readonly signals: Int32Array<SharedArrayBuffer>;
  /** The line for stderr. */
  readonly message: string;
}

async function remove(order: WatchOrder): Promise<void> {
  if (!releaseByForce(order.control, order.resources)) return;
  lastWords(order.message);
  deafen(order.signals);
  // Keep the number taken: the stuck thread closes it if it ever continues.
  neutralizeFd(order.charFd);
  if (order.keepDevice) return;
  await using control = await Control.open();
  await deleteDevice(control, order.device);
}

/** Functions that restore the handlers of signals that the stuck thread cannot handle. */
const restores = new Map<EndSignal, () => void>();

/** Lets signals end the process directly. Otherwise only SIGKILL could end a stuck process. */
function deafen(signals: Int32Array<SharedArrayBuffer>): void {
  const listened = Atomics.load(signals, 0);
  for (const name of Object.keys(SIGNAL_NUMBERS) as EndSignal[]) {
    if ((listened & 1 << SIGNAL_NUMBERS[name]) === 0 || restores.has(name)) continue;
    restores.set(name, endAtOnce(name));
  }
}

/** Restores the handlers once the thread continues, so that later signals end its other devices. */
function hearAgain(): void {
  for (const restore of restores.values()) restore();
  restores.clear();
}

/** Messages to the Worker. */
export type WatchdogMessage =
  /** One more device. */
  | { readonly type: "watch"; readonly key: number; readonly order: WatchOrder }
  /** One device less. */
  | { readonly type: "unwatch"; readonly key: number }
  /** No device is left. */
  | { readonly type: "end" };

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<WatchdogMessage>) => void) | null;
  close(): void;
};

const watches = new Map<number, () => void>();
const removals = new Set<Promise<void>>();

scope.onmessage = ({ data: message }) => {
  switch (message.type) {
    case "watch":
      watches.set(message.key, watchThread(message.order, () => begin(message.order)));
      break;
    case "unwatch":
      hearAgain();
      watches.get(message.key)?.();
      watches.delete(message.key);
      break;
    case "end":
      void end();
  }
};

function begin(order: WatchOrder): void {
  const removal = remove(order)
    .catch((error) => lastWords(error.message))
    .finally(() => removals.delete(removal));
  removals.add(removal);
}

async function end(): Promise<void> {
  await Promise.all(removals);
  await poolAtRest();
  scope.close();
}
