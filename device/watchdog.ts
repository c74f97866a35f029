/**
 * Guards a backend that runs in the caller's own thread: if that thread is stuck, nobody but
 * another thread can remove the device. The process lives on, since it is not ours.
 *
 * @module
 */

import { lastWords } from "./last_words.ts";
import type { WatchOrder } from "./watchdog_worker.ts";

/** Starts the watch in a Worker. Returns a function that ends it. */
export function guardLocalThread(order: WatchOrder): () => void {
  const url = new URL("./watchdog_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module", name: "ublk watchdog" });
  worker.onerror = (event) => {
    // Without this an error in the watchdog would end the process that it guards.
    event.preventDefault();
    lastWords(`the watchdog of device ${order.device}: ${event.message}`);
  };
  worker.postMessage(order);
  return () => worker.terminate();
}
