/**
 * Guards backends that run in the caller's own thread. If that thread is stuck, only another thread
 * can remove its devices. The process itself goes on: it belongs to the caller.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";
import { listenedSignals } from "./end_signals.ts";
import { lastWords } from "./last_words.ts";
import type { WatchdogMessage, WatchOrder } from "./watchdog_worker.ts";

/** The Worker that guards all devices of this thread while there are any. */
interface Watchdog {
  readonly worker: Worker;
  watched: number;
}

let watchdog: Watchdog | undefined;
let lastKey = 0;

/** Starts to guard a device. Returns a function that ends the watch. */
export function guardLocalThread(order: Omit<WatchOrder, "signals">): () => void {
  const guard = watchdog ??= startWatchdog();
  const post = (message: WatchdogMessage) => guard.worker.postMessage(message);
  const key = ++lastKey;
  guard.watched++;
  post({ type: "watch", key, order: { ...order, signals: listenedSignals } });
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    post({ type: "unwatch", key });
    assert(guard.watched > 0, "a watch ends once");
    if (--guard.watched > 0) return;
    if (watchdog === guard) watchdog = undefined;
    // It ends itself, because a thread of its pool may be blocked and only it can wake that.
    post({ type: "end" });
  };
}

function startWatchdog(): Watchdog {
  const url = new URL("./watchdog_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module", name: "ublk watchdog" });
  const made = { worker, watched: 0 };
  worker.onerror = (event) => {
    // Otherwise an error in the watchdog would end the process that it guards.
    event.preventDefault();
    lastWords(`the watchdog of this thread's devices: ${event.message}`);
    // The next device gets a new watchdog.
    if (watchdog === made) watchdog = undefined;
  };
  return made;
}
