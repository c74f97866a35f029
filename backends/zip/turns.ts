/**
 * Long work on a thread that also serves: it gives way every few milliseconds.
 *
 * @module
 */

const TURN_MS = 4;

/** The turns of one piece of work. */
export class Turns {
  #endMs = performance.now() + TURN_MS;

  /** Resolves when the work may go on; at once while its turn lasts. */
  async next(): Promise<void> {
    if (performance.now() < this.#endMs) return;
    // Not a microtask: those run before anything else gets to.
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#endMs = performance.now() + TURN_MS;
  }
}
