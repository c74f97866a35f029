/**
 * Work on several things at a time.
 *
 * @module
 */

/**
 * Does something with each item, a few at a time, begun in their order.
 *
 * @param most How many at a time.
 * @returns The results in the order of the items.
 * @throws The first failure, once nothing is under way any more. After it nothing is begun.
 */
export async function sideBySide<T, R>(
  items: readonly T[],
  most: number,
  work: (item: T, nth: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = new Array(items.length);
  const failures: unknown[] = [];
  let next = 0;
  const lane = async () => {
    while (next < items.length && failures.length === 0) {
      const nth = next++;
      try {
        results[nth] = await work(items[nth], nth);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, lane));
  if (failures.length > 0) throw failures[0];
  return results;
}
