/**
 * Accepts connections, and keeps doing so even if the process runs out of resources for a while.
 *
 * @module
 */

/** Pause before accepting is tried again after a failure, in milliseconds. */
const ACCEPT_AGAIN_MS = 100;

/** The part of a listener that is needed here. */
export interface Listening<C> {
  /** The next connection. */
  accept(): Promise<C>;
}

/**
 * Accepts connections until the listener is closed, and serves each of them. If accepting fails,
 * for instance because the process has no descriptor left, the connection waits for the next try.
 * Such a failure once ended the server, and its disk with it. (`Deno.serve` gives up there, and
 * `node:net` falls silent.)
 *
 * @param serve Serves one connection and closes it. Its Promise should never reject.
 * @param limit Maximum number of connections. A connection beyond it is closed at once.
 */
export async function acceptAll<C extends Disposable>(
  listener: Listening<C>,
  serve: (connection: C) => Promise<void>,
  limit: number,
): Promise<void> {
  let count = 0;
  while (true) {
    try {
      const connection = await listener.accept();
      if (count >= limit) {
        connection[Symbol.dispose]();
        continue;
      }
      count++;
      const ended = () => void count--;
      // Even an unexpected rejection must not end the server.
      serve(connection).then(ended, ended);
    } catch (error) {
      if (error instanceof Deno.errors.BadResource) return;
      await new Promise((resolve) => setTimeout(resolve, ACCEPT_AGAIN_MS));
    }
  }
}
