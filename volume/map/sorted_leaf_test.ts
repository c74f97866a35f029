import { assert, assertEquals } from "@std/assert";
import { MOST_BLOCKS_PER_LEAF, startOf, upTo, writeExtent } from "./sorted_leaf.ts";

/** Counts the words that are looked at. */
function counting(words: Int32Array<ArrayBuffer>) {
  const looked = { times: 0 };
  const proxy = new Proxy(words, {
    get(target, name) {
      looked.times++;
      return Reflect.get(target, name);
    },
  });
  return { proxy, looked };
}

Deno.test("upTo + leaves from empty to full + looks at no more keys than it halves the leaf", () => {
  for (let extents = 0; extents <= MOST_BLOCKS_PER_LEAF; extents = Math.max(1, extents * 2)) {
    const words = new Int32Array(3 * extents);
    const distance = MOST_BLOCKS_PER_LEAF / Math.max(1, extents);
    for (let nth = 0; nth < extents; nth++) {
      writeExtent(words, 0, extents, nth, nth * distance, nth * distance + 1, 0, nth);
      assertEquals(startOf(words, 0, nth), nth * distance);
    }
    const { proxy, looked } = counting(words);
    const most = Math.ceil(Math.log2(extents + 1));
    for (let offset = 0; offset < MOST_BLOCKS_PER_LEAF; offset += 61) {
      looked.times = 0;
      const found = upTo(proxy, 0, extents, offset);
      assertEquals(found, extents === 0 ? 0 : Math.floor(offset / distance) + 1);
      assert(looked.times <= most, `${looked.times} keys of ${extents}`);
    }
  }
});
