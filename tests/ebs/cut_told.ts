/**
 * Collects what nodes tell while their networks are cut.
 *
 * @module
 */

import type { NodeEvent } from "./cut_events.ts";

/** An event is waited for so long, in milliseconds. */
const PATIENCE_MS = 60_000;

/** What the nodes have told. */
export class Told {
  readonly events: NodeEvent[] = [];
  readonly #waiters = new Set<(event: NodeEvent) => void>();

  add(event: NodeEvent): void {
    this.events.push(event);
    for (const waiter of this.#waiters) waiter(event);
  }

  /** Waits for an event that is yet to come. */
  async next(isIt: (event: NodeEvent) => boolean, words: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const last = () => this.events.slice(-20).map((event) => JSON.stringify(event)).join("\n");
    const timer = setTimeout(() => reject(new Error(`${words}:\n${last()}`)), PATIENCE_MS);
    const waiter = (event: NodeEvent) => isIt(event) && resolve();
    this.#waiters.add(waiter);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }
}
