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

/** What to watch and what to do about it. */
export interface WatchOrder {
  /** The watched thread's control block. */
  readonly control: SharedArrayBuffer;
  /** The eventfd that its ring signals. */
  readonly completionsFd: number;
  /** The device that it serves. */
  readonly device: number;
  /** The descriptor of `/dev/ublkcN`. */
  readonly charFd: number;
  /** What the thread holds. */
  readonly resources: ThreadResources;
  /** Whether the device is to stay, for another server to recover. */
  readonly keepDevice: boolean;
  /** The signals to which the thread listens now, a bit for the number of each. */
  readonly signals: Int32Array<SharedArrayBuffer>;
  /** The last words. */
  readonly message: string;
}

async function remove(order: WatchOrder): Promise<void> {
  if (!releaseByForce(order.control, order.resources)) return;
  lastWords(order.message);
  deafen(order.signals);
  // The number stays taken: the stuck thread will close it if it ever gets on.
  neutralizeFd(order.charFd);
  if (order.keepDevice) return;
  await using control = await Control.open();
  await deleteDevice(control, order.device);
}

/** What puts back the handlers of the signals that the thread, which is stuck, cannot hear. */
const restores = new Map<EndSignal, () => void>();

/** Or nothing but kill -9 would end a process that cannot listen any more. */
function deafen(signals: Int32Array<SharedArrayBuffer>): void {
  const listened = Atomics.load(signals, 0);
  for (const name of Object.keys(SIGNAL_NUMBERS) as EndSignal[]) {
    if ((listened & 1 << SIGNAL_NUMBERS[name]) === 0 || restores.has(name)) continue;
    restores.set(name, endAtOnce(name));
  }
}

/** The thread has got on. Its other devices were once left behind at every later signal. */
function hearAgain(): void {
  for (const restore of restores.values()) restore();
  restores.clear();
}

/** What the Worker is told. */
export type WatchdogMessage =
  /** One device more. */
  | { readonly type: "watch"; readonly key: number; readonly order: WatchOrder }
  /** One less. */
  | { readonly type: "unwatch"; readonly key: number }
  /** There is none any more. */
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
