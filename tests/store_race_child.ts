/**
 * One of several processes that race for the objects of a folder:
 * `store_race_child.ts FOLDER ID ROUNDS RACERS`. It waits for the others, so that none is done before
 * another begins. Prints a line for each race that it wins.
 *
 * @module
 */

import { DirectoryStore } from "../store/directory.ts";
import { assert } from "../uapi/error.ts";

const [folder, id, rounds, racers] = Deno.args;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A body that takes several writes to the disk. */
function bodyOf(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text.padEnd(20_000, "."));
}

await using store = await DirectoryStore.open(folder);
await store.putIfAbsent(`ready/${id}`, encoder.encode(id));
while ((await Array.fromAsync(store.list("ready/"))).length < Number(racers)) {
  await new Promise((resolve) => setTimeout(resolve, 1));
}
for (let round = 0; round < Number(rounds); round++) {
  // One of all gets this name.
  const version = await store.putIfAbsent(`race/${round}`, bodyOf(`${id}`));
  if (version !== undefined) console.log(`put ${round}`);
  // All count, each once.
  for (;;) {
    const found = await store.get("count");
    assert(found !== undefined, "the counter is there");
    const next = parseInt(decoder.decode(found.bytes)) + 1;
    if (await store.replace("count", bodyOf(`${next} ${id}`), found.version) === undefined) {
      continue;
    }
    console.log(`count ${next}`);
    break;
  }
}
