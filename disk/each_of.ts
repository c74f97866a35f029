/**
 * Runs several tasks, all of them even if one fails: closing files, flushing members.
 *
 * @module
 */

/**
 * Runs all tasks, one after the other.
 *
 * @throws {unknown} The first that was thrown, once all are done.
 */
export function eachOf(works: Iterable<() => void>): void {
  const thrown: unknown[] = [];
  for (const work of works) {
    try {
      work();
    } catch (error) {
      thrown.push(error);
    }
  }
  if (thrown.length > 0) throw thrown[0];
}

/**
 * {@linkcode eachOf} for asynchronous tasks.
 *
 * @throws {unknown} The first that was thrown, once all are done.
 */
export async function eachInTurn(works: Iterable<() => unknown>): Promise<void> {
  const thrown: unknown[] = [];
  for (const work of works) {
    try {
      await work();
    } catch (error) {
      thrown.push(error);
    }
  }
  if (thrown.length > 0) throw thrown[0];
}
