import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { openCipher, seal, unseal } from "./gcm.ts";

// It stays open for the life of the process, which is no leak of the test that seals first.
openCipher();

const NONE = new Uint8Array(0);

function sealed(
  key: Uint8Array<ArrayBuffer>,
  count: number,
  associated: Uint8Array<ArrayBuffer> | undefined,
  from: Uint8Array<ArrayBuffer>,
) {
  const [to, tag] = [new Uint8Array(from.length), new Uint8Array(16)];
  seal(key, count, associated, from, to, tag);
  return { to, tag };
}

for (const isThere of [true, false]) {
  const how = isThere ? "by the library" : "without a library";

  Deno.test(`seal + known answers of NIST's tests 13 and 14, ${how}`, () => {
    openCipher(isThere);
    const key = new Uint8Array(32);
    const empty = sealed(key, 0, undefined, NONE);
    assertEquals(empty.tag.toHex(), "530f8afbc74536b9a963b4f1c4cb738b");
    const { to, tag } = sealed(key, 0, undefined, new Uint8Array(16));
    assertEquals(to.toHex(), "cea7403d4d606b6e074ec5d3baf39d18");
    assertEquals(tag.toHex(), "d0d1c8a799996bf0265b98b5d48ab919");
  });

  Deno.test(`unseal + what was sealed comes back, and nothing that was changed, ${how}`, () => {
    openCipher(isThere);
    const dice = new Dice(1);
    for (const length of [0, 1, 16, 512, 4096]) {
      const bytes = (count: number) => Uint8Array.from({ length: count }, () => dice.draw(256));
      const [key, from, associated] = [bytes(32), bytes(length), bytes(80)];
      const count = 2 ** 40 + dice.draw(1000);
      const { to, tag } = sealed(key, count, associated, from);
      const opened = new Uint8Array(length);
      assert(unseal(key, count, associated, to, opened, tag));
      assertEquals(opened, from);
      // In place as well.
      const same = to.slice();
      assert(unseal(key, count, associated, same, same, tag));
      assertEquals(same, from);
      const changed = (source: Uint8Array<ArrayBuffer>) => {
        const copy = source.slice();
        if (copy.length > 0) copy[dice.draw(copy.length)] ^= 1 << dice.draw(8);
        return copy;
      };
      const tries: [Uint8Array<ArrayBuffer>, number, typeof associated, typeof to, typeof tag][] = [
        [changed(key), count, associated, to, tag],
        [key, count + 1, associated, to, tag],
        [key, count - 2 ** 32, associated, to, tag],
        [key, count, changed(associated), to, tag],
        [key, count, associated, to, changed(tag)],
      ];
      if (length > 0) tries.push([key, count, associated, changed(to), tag]);
      for (const [other, at, also, bytes, mark] of tries) {
        opened.fill(1);
        assert(!unseal(other, at, also, bytes, opened, mark));
        assert(opened.every((byte) => byte === 0), "nothing that is not authentic is handed on");
      }
    }
  });
}

Deno.test("seal + both ways give the same, and each count something else", () => {
  const key = new Uint8Array(32).fill(7);
  const from = new Uint8Array(4096).fill(8);
  const all = [true, false].map((isThere) => {
    openCipher(isThere);
    return [3, 4, 2 ** 32 + 3].map((count) => {
      const { to, tag } = sealed(key, count, from.subarray(0, 20), from);
      return to.toHex() + tag.toHex();
    });
  });
  openCipher();
  assertEquals(all[0], all[1]);
  assertNotEquals(all[0][0], all[0][1]);
  assertNotEquals(all[0][0], all[0][2]);
});
