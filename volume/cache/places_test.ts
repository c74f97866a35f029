import { assert, assertEquals } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";
import { Places } from "./places.ts";

function put(places: Places, key: number): void {
  const place = places.take();
  places.enter(place, key);
  places.settle(place);
}

Deno.test("Places + agree with a model, whatever is taken, entered, settled and dropped", async (t) => {
  await eachSeed(t, 100, (seed) => {
    const dice = new Dice(seed);
    const count = 1 + dice.draw(40);
    const places = new Places(new Float64Array(count));
    /** Of each place, its key, and whether it is taken. */
    const model = Array.from({ length: count }, () => ({ key: -1, taken: false }));
    const [scale, keys] = [dice.draw(2) === 0 ? 1 : 2 ** 40 + 1, 2 * count];
    for (let step = 0; step < 500; step++) {
      const key = dice.draw(keys) * scale;
      const found = places.find(key);
      assertEquals(found, model.findIndex((one) => one.key === key));
      if (found >= 0) {
        places.use(found);
        if (dice.draw(4) === 0) {
          places.drop(found);
          model[found].key = -1;
        }
        continue;
      }
      const taken = model.findIndex(({ taken }) => taken);
      if (taken >= 0 && dice.draw(2) === 0) {
        if (model[taken].key < 0 && dice.draw(3) > 0) {
          places.enter(taken, key);
          model[taken].key = key;
        } else {
          places.settle(taken);
          model[taken].taken = false;
        }
        continue;
      }
      const place = places.take();
      assertEquals(place < 0, model.every(({ taken }) => taken));
      if (place < 0) continue;
      assert(!model[place].taken, "a place is taken once");
      model[place] = { key: -1, taken: true };
    }
  });
});

Deno.test("Places + a long scan leaves those that are used again, however small its requests", () => {
  const places = new Places(new Float64Array(1000));
  const hot = Array.from({ length: 300 }, (_, nth) => nth);
  let scanned = 1000;
  const scan = (lines: number) => {
    for (; lines > 0; lines--) {
      put(places, scanned);
      // Requests of 4 KiB go through a line of 64.
      for (let request = 1; request < 16; request++) places.use(places.find(scanned));
      scanned++;
    }
  };
  for (let round = 0; round < 10; round++) {
    for (const key of hot) {
      const place = places.find(key);
      if (place >= 0) places.use(place);
      else put(places, key);
    }
    scan(500);
  }
  scan(20_000);
  assert(hot.every((key) => places.find(key) >= 0), "what was used again is there");
});

Deno.test("Places + a line that comes back soon stays", () => {
  const places = new Places(new Float64Array(1000));
  for (let key = 0; key < 2000; key++) put(places, key);
  const back = 990;
  assert(places.find(back) < 0, "it had to go");
  put(places, back);
  for (let key = 2000; key < 5000; key++) put(places, key);
  assert(places.find(back) >= 0);
});

Deno.test("Places + begin with the keys that they are given, each once", () => {
  const keys = Float64Array.from([0, 8, 5, 8, 1]);
  const places = new Places(keys);
  assertEquals([7, 4, 0, 3].map((key) => places.find(key)), [1, 2, 4, -1]);
  assertEquals(places.keys[3], 0);
});
