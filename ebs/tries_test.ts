import { assert, assertEquals } from "@std/assert";
import { Tries } from "./tries.ts";

Deno.test("Tries + more pieces of work than may be tried at once + the others wait, and all are done", async () => {
  const tries = new Tries({ atOnce: 2 });
  let underWay = 0;
  let most = 0;
  const failures = new Map<string, number>();
  const all = Array.from({ length: 9 }, (_, nth) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = 2;
    tries.begin(`${nth}`, async () => {
      most = Math.max(most, ++underWay);
      await new Promise((resolve) => setTimeout(resolve, 5));
      underWay--;
      if (--left > 0) throw new Error("not yet");
      resolve();
    }, () => void failures.set(`${nth}`, (failures.get(`${nth}`) ?? 0) + 1));
    return promise;
  });
  await Promise.all(all);
  await tries.end();
  assertEquals([most, underWay], [2, 0]);
  assertEquals([...failures.values()], Array(9).fill(1));
});

Deno.test("Tries + ended while some wait + ends once those under way are done, and begins none", async () => {
  const tries = new Tries({ atOnce: 1 });
  const { promise, resolve } = Promise.withResolvers<void>();
  const begun: string[] = [];
  for (const key of ["a", "b", "c"]) {
    tries.begin(key, () => {
      begun.push(key);
      return promise;
    }, () => {});
  }
  await Promise.resolve();
  let isEnded = false;
  const ended = tries.end().then(() => isEnded = true);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(!isEnded, "one is under way");
  resolve();
  await ended;
  assertEquals(begun, ["a"]);
});
