import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { eachSeed, replay, seedsOf } from "./seeds.ts";

Deno.test("seedsOf + so many as are wished, or one alone", () => {
  assertEquals(seedsOf(3, []), [1, 2, 3]);
  assertEquals(seedsOf(3, ["--seeds", "5"]), [1, 2, 3, 4, 5]);
  assertEquals(seedsOf(3, ["--seed", "17"]), [17]);
  assertEquals(seedsOf(3, ["--seed=17"]), [17]);
});

Deno.test("seedsOf + refuses what it does not know", () => {
  for (
    const args of [
      ["--sed", "1"],
      ["--seed"],
      ["--seed", "x"],
      ["--seeds", "1", "2"],
      ["--seeds", "0"],
      ["--seeds="],
      ["--seed="],
    ]
  ) {
    assertThrows(() => seedsOf(3, args), Error, "use --seeds N");
  }
});

Deno.test("seedsOf + refuses a count of none, which would test nothing and pass", () => {
  for (const count of ["0", "-5", "", "1e12"]) {
    assertThrows(() => seedsOf(3, ["--seeds", count]), Error, "use --seeds N");
    assertThrows(() => seedsOf(3, [`--seeds=${count}`]), Error, "use --seeds N");
  }
  assertThrows(() => seedsOf(3, ["--seed="]), Error, "use --seeds N");
  assertEquals(seedsOf(3, ["--seed", "0"]), [0]);
});

Deno.test("replay + one line for a shell", (t) => {
  const line = replay(t, 4);
  assertEquals(
    line,
    "deno test -A tests/seeds_test.ts --filter 'replay + one line for a shell' -- --seed 4",
  );
  assertEquals(
    replay({ name: "it's", origin: "file:///elsewhere/a_test.ts" }, 1),
    `deno test -A file:///elsewhere/a_test.ts --filter 'it'\\''s' -- --seed 1`,
  );
  const inGuest = new URL("e2e/a_test.ts", import.meta.url).href;
  assertEquals(
    replay({ name: "it", origin: inGuest }, 1),
    "deno task vm-e2e --files tests/e2e/a_test.ts --filter 'it' -- --seed 1",
  );
});

Deno.test("eachSeed + runs all, and names those that failed", async (t) => {
  const seen: number[] = [];
  assertEquals(await eachSeed(t, 4, (seed) => seen.push(seed), []), 4);
  assertEquals(seen, [1, 2, 3, 4]);
  const odd = (seed: number) => {
    if (seed % 2 === 1) throw new Error(`${seed} is odd`);
  };
  const message =
    "of 4 seeds failed: 1, and 3; replay: deno test -A tests/seeds_test.ts --filter " +
    "'eachSeed + runs all, and names those that failed' -- --seed 1\n1 is odd";
  await assertRejects(() => eachSeed(t, 4, odd, []), Error, message);
  await assertRejects(() => eachSeed(t, 100, odd, []), Error, "of 19 seeds failed: 1, and 3,5");
});
