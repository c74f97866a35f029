import { assertEquals, assertRejects } from "@std/assert";
import { EbsError } from "./error.ts";
import { Turns } from "./turns.ts";

Deno.test("Turns + one name's operations follow one another, others' do not wait", async () => {
  const turns = new Turns();
  const log: string[] = [];
  const held = Promise.withResolvers<void>();
  const operation = (name: string, until?: Promise<void>) => async () => {
    log.push(`${name} begins`);
    await until;
    log.push(`${name} ends`);
    if (name === "a1") throw new Error("failed");
  };
  const all = [
    turns.run("a", operation("a1", held.promise)).catch(() => {}),
    turns.run("a", operation("a2")),
    turns.run("b", operation("b1")),
  ];
  await all[2];
  assertEquals(log, ["a1 begins", "b1 begins", "b1 ends"]);
  held.resolve();
  await Promise.all(all);
  assertEquals(log.slice(3), ["a1 ends", "a2 begins", "a2 ends"]);
  assertEquals(turns.count, 0);
});

Deno.test("Turns + more than may wait + are refused, and the others go on", async () => {
  const turns = new Turns();
  const held = Promise.withResolvers<void>();
  const waiting = Array.from({ length: 32 }, () => turns.run("a", () => held.promise));
  const { code } = await assertRejects(() => turns.run("a", () => held.promise), EbsError);
  assertEquals(code, "unavailable");
  assertEquals(await turns.run("b", () => Promise.resolve(1)), 1);
  held.resolve();
  await Promise.all(waiting);
  assertEquals(await turns.run("a", () => Promise.resolve(2)), 2);
});
