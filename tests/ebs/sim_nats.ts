/**
 * Requests from a client to a node by way of a server of NATS, over simulated networks.
 *
 * @module
 */

import type { Conditions } from "./link.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** A cut connection is dropped by the server after so long, in milliseconds: its pings tell. */
export const DROPPED_AFTER_MS = 60_000;

/** Who listens. */
export interface Listener {
  readonly network: Conditions;
  readonly isAlive: boolean;
  /** The server has dropped its connection. */
  readonly isDropped: boolean;
}

/** A server of NATS. */
export class SimNats {
  readonly #time: VirtualTime;
  readonly #count: () => void;

  /** @param count Called when a request arrives at the server. */
  constructor(time: VirtualTime, count: () => void) {
    this.#time = time;
    this.#count = count;
  }

  /** Asks a listener. @throws {Error} `no responders`, which the server says at once; `timeout`. */
  request<L extends Listener, T>(
    from: Conditions,
    to: L,
    answer: (listener: L) => Promise<T>,
    timeoutMs: number,
  ): Promise<T> {
    const time = this.#time;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const cancel = time.after(timeoutMs, () => reject(new Error("timeout")));
    const back = (settle: () => void) =>
      time.after(from.delayMs(), () => {
        if (from.cutBack) return;
        cancel();
        settle();
      });
    time.after(from.delayMs(), () => {
      if (from.cutThere) return;
      this.#count();
      if (to.isDropped) return back(() => reject(new Error("no responders")));
      time.after(to.network.delayMs(), async () => {
        if (!to.isAlive || to.network.cutBack) return;
        const settle = await answer(to).then(
          (value) => () => resolve(value),
          (error) => () => reject(error),
        );
        time.after(to.network.delayMs(), () => {
          if (to.isAlive && !to.network.cutThere) back(settle);
        });
      });
    });
    return promise;
  }
}
