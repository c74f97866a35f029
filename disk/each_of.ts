/**
 * Several things that are to be done all, whatever becomes of one: files to be closed, members to
 * be flushed.
 *
 * @module
 */

/**
 * Does all of them, one after the other.
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
 * {@linkcode eachOf} where they take their time.
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
