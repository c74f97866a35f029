import { assertEquals, assertRejects } from "@std/assert";
import { sideBySide } from "./side_by_side.ts";

function turns(count: number): Promise<void> {
  return count === 0 ? Promise.resolve() : Promise.resolve().then(() => turns(count - 1));
}

Deno.test("sideBySide + so many at a time, begun and returned in order", async () => {
  const log: string[] = [];
  let running = 0;
  let most = 0;
  const results = await sideBySide([5, 1, 4, 2, 3], 2, async (item, nth) => {
    log.push(`${nth}`);
    most = Math.max(most, ++running);
    await turns(item * 10);
    running--;
    return item * 2;
  });
  assertEquals([results, log.join(""), most], [[10, 2, 8, 4, 6], "01234", 2]);
  assertEquals(await sideBySide([], 2, () => Promise.reject(new Error("never"))), []);
});

Deno.test("sideBySide + a failure comes once all that was begun has ended", async () => {
  const ended: number[] = [];
  const run = sideBySide([0, 1, 2, 3], 2, async (item) => {
    await turns(item === 0 ? 1 : 50);
    ended.push(item);
    if (item === 0) throw new Error("zero");
  });
  await assertRejects(() => run, Error, "zero");
  assertEquals(ended, [0, 1]);
});
