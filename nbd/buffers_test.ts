import { assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { ETIMEDOUT } from "../uapi/errno.ts";
import { Buffers } from "./buffers.ts";

const KIB = 1024;

Deno.test("Buffers + one that was given back + serves the next request of its length", () => {
  const buffers = new Buffers();
  const one = buffers.get(4 * KIB);
  assertNotStrictEquals(buffers.get(4 * KIB), one, "it is in use");
  buffers.put(one, 0);
  assertEquals(buffers.get(8 * KIB).length, 8 * KIB);
  assertStrictEquals(buffers.get(4 * KIB), one);
});

Deno.test("Buffers + a request past its deadline + its buffer is the disk's for good", () => {
  const buffers = new Buffers();
  const one = buffers.get(4 * KIB);
  buffers.put(one, -ETIMEDOUT);
  assertNotStrictEquals(buffers.get(4 * KIB), one);
});

Deno.test("Buffers + many + keep no more than a piece, the newest", () => {
  const buffers = new Buffers();
  const all = Array.from({ length: 6 }, () => buffers.get(256 * KIB));
  for (const each of all) buffers.put(each, 0);
  const again = Array.from({ length: 6 }, () => buffers.get(256 * KIB));
  assertEquals(again.filter((each) => all.includes(each)).length, 4);
  assertEquals(again.slice(0, 4), all.slice(2).toReversed());
  for (let nth = 0; nth < 100; nth++) buffers.put(new Uint8Array(512), 0);
  const small = Array.from({ length: 100 }, () => buffers.get(512));
  for (const each of small) each.fill(1);
  assertEquals(new Set(small).size, 100);
});
