import { assertEquals, assertRejects } from "@std/assert";
import { inLanes, passOnLines } from "./lanes.ts";

Deno.test("inLanes starts the next job in the lane that is free first", async () => {
  const log: string[] = [];
  const gates = ["a", "b", "c", "d"].map((name) => ({ name, ...Promise.withResolvers<void>() }));
  const jobs = gates.map(({ name, promise }) => async () => {
    log.push(`begin ${name}`);
    await promise;
    log.push(`end ${name}`);
    return name;
  });
  const all = inLanes(jobs, 2);
  for (const index of [1, 2, 3, 0]) {
    gates[index].resolve();
    await new Promise((resolve) => setTimeout(resolve));
  }
  assertEquals(await all, ["a", "b", "c", "d"]);
  assertEquals(log, [
    ...["begin a", "begin b"],
    ...["end b", "begin c", "end c", "begin d", "end d", "end a"],
  ]);
});

Deno.test("inLanes rejects only when the other lanes have ended", async () => {
  let ended = false;
  const jobs = [
    () => Promise.reject(new Error("broken")),
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      ended = true;
    },
  ];
  await assertRejects(() => inLanes(jobs, 2), Error, "broken");
  assertEquals(ended, true);
});

Deno.test("passOnLines labels whole lines, the last one even without an end", async () => {
  const lines: string[] = [];
  const chunks = ["on", "e\ntw", "o\n\nthree"].map((text) => new TextEncoder().encode(text));
  await passOnLines(ReadableStream.from(chunks), "unit", (line) => lines.push(line));
  assertEquals(lines, ["unit | one", "unit | two", "unit | ", "unit | three"]);
});
