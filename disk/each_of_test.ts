import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { eachInTurn, eachOf } from "./each_of.ts";

Deno.test("eachOf does all, and throws the first that fails", () => {
  const done: number[] = [];
  const works = [1, 2, 3, 4].map((index) => () => {
    done.push(index);
    if (index % 2 === 0) throw new Error(`no ${index}`);
  });
  assertThrows(() => eachOf(works), Error, "no 2");
  assertEquals(done, [1, 2, 3, 4]);
  eachOf([]);
});

Deno.test("eachInTurn waits for each before the next, whatever becomes of it", async () => {
  const done: string[] = [];
  const works = [1, 2, 3].map((index) => async () => {
    done.push(`begin ${index}`);
    await new Promise((resolve) => setTimeout(resolve));
    done.push(`end ${index}`);
    if (index !== 2) throw new Error(`no ${index}`);
  });
  await assertRejects(() => eachInTurn(works), Error, "no 1");
  assertEquals(done, [1, 2, 3].flatMap((index) => [`begin ${index}`, `end ${index}`]));
});
