/**
 * Taking connections, for as long as the process lives and whatever it lacks meanwhile.
 *
 * @module
 */

/** When a connection that could not be taken is tried again, in milliseconds. */
const ACCEPT_AGAIN_MS = 100;

/** What is needed of a listener. */
export interface Listening<C> {
  /** The next connection. */
  accept(): Promise<C>;
}

/**
 * Takes connections until the listener is closed, and hands each of them on until that resolves. One
 * that cannot be taken, as where the process has no descriptor left, waits: once, that it could not
 * ended the server, and its disk with it. (`Deno.serve` gives up there, and `node:net` falls silent.)
 *
 * @param serve Rejects for nothing. It closes its connection.
 * @param limit Connections at a time. One more is closed at once.
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
      // Not even what should not happen to a connection ends the server.
      serve(connection).then(ended, ended);
    } catch (error) {
      if (error instanceof Deno.errors.BadResource) return;
      await new Promise((resolve) => setTimeout(resolve, ACCEPT_AGAIN_MS));
    }
  }
}
