import { assert, assertEquals } from "@std/assert";
import { Dice } from "../uapi/dice.ts";
import { MemoryPool, type MemoryShare, PIECE_BYTES } from "./memory.ts";

/** Takes pieces until it has to wait, and returns how many it got. */
function fill(share: MemoryShare): number {
  for (let count = 0;; count++) if (share.take(PIECE_BYTES) !== undefined) return count;
}

Deno.test("MemoryPool + connections that take all they can + leave half to the next, and a piece to each", () => {
  const pool = new MemoryPool(64 * PIECE_BYTES);
  assertEquals(fill(pool.share()), 1 + 32);
  assertEquals(fill(pool.share()), 1 + 16);
  assertEquals(fill(pool.share()), 1 + 8);
  const rest = Array.from({ length: 20 }, () => fill(pool.share()));
  assert(rest.every((count) => count >= 1), `${rest}`);
});

Deno.test("MemoryShare + what is given back + goes to those who wait, in turn, also of others", async () => {
  const pool = new MemoryPool(2 * PIECE_BYTES);
  const [one, two] = [pool.share(), pool.share()];
  for (let count = 0; count < 2; count++) assertEquals(one.take(PIECE_BYTES), undefined);
  const order: string[] = [];
  assertEquals(two.take(PIECE_BYTES), undefined);
  assertEquals(two.take(PIECE_BYTES / 2), undefined);
  void two.take(PIECE_BYTES)?.then(() => order.push("large"));
  void two.take(1)?.then(() => order.push("small, behind it"));
  const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
  await settled();
  assertEquals(order, []);
  one.give(PIECE_BYTES);
  await settled();
  assertEquals(order, ["large"]);
  two.give(PIECE_BYTES);
  await settled();
  assertEquals([order, two.held], [["large", "small, behind it"], PIECE_BYTES * 3 / 2 + 1]);
});

Deno.test("MemoryPool + random turns + nobody waits for ever, and nothing is lost", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const dice = new Dice(seed);
    const below = (n: number) => dice.draw(n);
    const pool = new MemoryPool(8 * PIECE_BYTES);
    const shares = Array.from({ length: 4 }, () => pool.share());
    let done = 0;
    const work = async (share: MemoryShare) => {
      const bytes = 1 + below(PIECE_BYTES);
      await share.take(bytes);
      for (let turns = below(4); turns > 0; turns--) await Promise.resolve();
      share.give(bytes);
      done++;
    };
    const all = Array.from({ length: 200 }, () => work(shares[below(shares.length)]));
    await Promise.all(all);
    assertEquals([done, ...shares.map(({ held }) => held)], [200, 0, 0, 0, 0]);
    assertEquals(fill(shares[0]), 1 + 4);
  }
});
