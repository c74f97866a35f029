import { assert, assertEquals } from "@std/assert";
import { eachSeed } from "../../tests/seeds.ts";
import { Dice } from "../../uapi/dice.ts";
import { dataOffset } from "../format/chunk.ts";
import { chunkOf, MAX_CHUNK_BLOCKS, placeOf } from "../format/place.ts";
import { BlockMap } from "../map/block_map.ts";
import { planChunks } from "./pack.ts";

Deno.test("planChunks + no chunk is larger than those of the volume, with room for seals or without", async (t) => {
  await eachSeed(t, 50, (seed) => {
    const dice = new Dice(seed);
    const blockSize = [512, 1024, 2048, 4096][dice.draw(4)];
    const chunkSize = 4096 * (16 + dice.draw(64));
    const isSealed = dice.draw(2) === 0;
    const runs: { block: number; count: number; nth: number }[] = [];
    for (let at = 0, nth = 0; runs.length < 40;) {
      const count = 1 + dice.draw(dice.draw(3) === 0 ? 500 : 4);
      const isHole = dice.draw(5) === 0;
      runs.push({ block: at, count, nth: isHole ? -1 : nth });
      if (!isHole) nth += count;
      at += count + dice.draw(3);
    }
    const planned = planChunks(
      { runs: () => runs.values() as never },
      blockSize,
      chunkSize,
      isSealed,
    );
    let blocks = 0;
    for (const { frames } of planned) {
      const own = frames.reduce((sum, { hole, count }) => hole ? sum : sum + count, 0);
      const bytes = dataOffset(frames.length, own, isSealed) + own * blockSize;
      assert(bytes <= chunkSize, `a chunk has ${bytes} bytes, and not ${chunkSize}`);
      blocks += own;
    }
    assertEquals(blocks, runs.reduce((sum, { nth, count }) => nth < 0 ? sum : sum + count, 0));
  });
});

Deno.test("planChunks + the largest chunks + no extent of the map goes on in the next one", () => {
  const count = 2 * MAX_CHUNK_BLOCKS + 10;
  const planned = planChunks(
    { runs: () => [{ block: 100, count, nth: 0 }].values() as never },
    512,
    256 << 20,
    false,
  );
  const map = new BlockMap({ blocks: 100 + count, step: 1 });
  planned.forEach(({ frames: [{ block, count }] }, nth) => map.set(block, count, placeOf(nth, 0)));
  let found = 0;
  for (const cursor = map.cursor(); cursor.next();) {
    assertEquals(chunkOf(cursor.place), chunkOf(cursor.place + cursor.count - 1));
    found += cursor.count;
  }
  assertEquals([planned.length, found], [3, count]);
});
