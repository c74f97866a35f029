import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";
import { openAllOfLibc } from "../../uring/libc.ts";
import { Slabs } from "./slabs.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

const CLASS_WORDS = [3, 7, 20, 50];

/** Small pieces, so that many come and go. */
const slabsOf = () => new Slabs({ spanWords: 50, classWords: CLASS_WORDS, pieceBits: 10 });

Deno.test("Slabs + blocks that are taken + never overlap, and keep their words", async (t) => {
  await eachSeed(t, 100, (seed) => {
    const dice = new Dice(seed);
    const slabs = slabsOf();
    const taken: { ref: number; size: number; stamp: number }[] = [];
    const wordsOf = ({ ref, size }: { ref: number; size: number }) => {
      const at = ref & slabs.mask;
      return slabs.pieces[ref >>> slabs.bits].subarray(at, at + CLASS_WORDS[size]);
    };
    const give = (index: number) => {
      const [block] = taken.splice(index, 1);
      assert(wordsOf(block).every((word) => word === block.stamp), `block ${block.ref}`);
      slabs.give(block.ref);
    };
    for (let nth = 0; nth < 2000; nth++) {
      // By turns it grows and shrinks.
      if (dice.draw(100) < (nth % 500 < 250 ? 70 : 35)) {
        const size = dice.draw(CLASS_WORDS.length);
        const block = { ref: slabs.take(size), size, stamp: nth };
        wordsOf(block).fill(nth);
        taken.push(block);
      } else if (taken.length > 0) give(dice.draw(taken.length));
    }
    while (taken.length > 0) give(dice.draw(taken.length));
    assertLessOrEqual(slabs.bytes, 5000, "one piece is spare");
  });
});

Deno.test("Slabs + a class that is given back + its memory serves another class", () => {
  const slabs = slabsOf();
  const small = Array.from({ length: 1000 }, () => slabs.take(0));
  const { bytes } = slabs;
  small.forEach((ref) => slabs.give(ref));
  Array.from({ length: 60 }, () => slabs.take(3));
  assertLessOrEqual(slabs.bytes, bytes);
});

Deno.test("Slabs + a block that was never taken + cannot be given back", () => {
  const slabs = slabsOf();
  assertEquals(slabs.bytes, 0);
  assertThrows(() => slabs.give(0));
  const ref = slabs.take(3);
  slabs.give(ref);
  assertThrows(() => slabs.give(ref), Error, "was taken");
});
