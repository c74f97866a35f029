import { assertEquals, assertNotEquals } from "@std/assert";
import { isMapped } from "../tests/maps.ts";
import { BouncePool } from "./bounce.ts";
import { openAllOfLibc } from "./libc.ts";
import { PAGE_BYTES, placeOf } from "./mapping.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("BouncePool.take + a size + is a mapping of at least that, used again", () => {
  using pool = new BouncePool();
  const first = pool.take(3 * PAGE_BYTES);
  assertEquals(first.bytes.length, 4 * PAGE_BYTES);
  assertEquals(placeOf(first.bytes)!.address, first.address);
  const second = pool.take(3 * PAGE_BYTES);
  assertNotEquals(second.address, first.address);
  pool.give(first);
  assertEquals(pool.take(4 * PAGE_BYTES).address, first.address);
  pool.give(first);
  pool.give(second);
  // A buffer of another size is not reused for it.
  const small = pool.take(0);
  assertEquals(small.bytes.length, PAGE_BYTES);
  pool.give(small);
});

Deno.test("BouncePool.give + more than it keeps + is unmapped", () => {
  using pool = new BouncePool();
  const all = Array.from({ length: 6 }, () => pool.take(1 << 20));
  for (const one of all) pool.give(one);
  assertEquals(pool.keptBytes, 4 << 20);
  const again = pool.take(1 << 20);
  assertEquals(pool.keptBytes, 3 << 20);
  pool.give(again);
  assertEquals(pool.keptBytes, 4 << 20);
  assertEquals(all.map(({ address }) => isMapped(address)), [true, true, true, true, false, false]);
  const huge = pool.take(16 << 20);
  pool.give(huge);
  assertEquals(isMapped(huge.address), false);
});

Deno.test("BouncePool + closed + unmaps what it has, and the rest when it comes back", () => {
  const pool = new BouncePool();
  const [kept, lent] = [pool.take(1), pool.take(1)];
  pool.give(kept);
  pool[Symbol.dispose]();
  assertEquals([kept, lent].map(({ address }) => isMapped(address)), [false, true]);
  pool.give(lent);
  assertEquals(isMapped(lent.address), false);
});
