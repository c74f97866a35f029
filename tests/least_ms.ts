/**
 * Upper bounds of times, on machines that stall now and then.
 *
 * @module
 */

/**
 * The shortest of up to five runs, in milliseconds; the first one that takes less than `enoughMs` is
 * the last. A busy machine makes one run late or another, and a fault makes all of them late.
 *
 * @param run Returns how long it took, in milliseconds.
 */
export async function leastMs(enoughMs: number, run: () => Promise<number>): Promise<number> {
  let least = Infinity;
  for (let runs = 0; runs < 5 && least >= enoughMs; runs++) least = Math.min(least, await run());
  return least;
}
