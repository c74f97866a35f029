import { assert, assertEquals, assertRejects } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { UblkError } from "../../uapi/error.ts";
import { BrokenPromise } from "../volumes/history.ts";
import { inFolder } from "../volumes/folders.ts";
import { inspect } from "./inspect.ts";
import { openCipher } from "../../volume/seal/gcm.ts";
import { type LoadPlace, MOST_BLOCKS, runLoad } from "./load.ts";
import { Recording } from "./recording.ts";

// Open libcrypto for good, outside any test: the sanitizer would report a leak.
openCipher();

async function load(place: LoadPlace, seed: number) {
  const recording = new Recording(MOST_BLOCKS);
  const marks: number[] = [];
  const mark = (number: number) => void marks.push(number);
  await Deno.mkdir(place.store);
  await runLoad({ ...place, recording, mark, dice: new Dice(seed) });
  assertEquals(marks, marks.map((_, nth) => 1 + nth));
  assert(marks.length > 20, "it flushes often");
  return { recording, last: marks.length };
}

Deno.test("a load leaves a volume that passes its inspection, and not that of another load", async () => {
  await inFolder(async ({ store, journal }) => {
    const { recording, last } = await load({ store, journal }, 1);
    await inspect({ store, journal }, recording, last);
  });
  await inFolder(async ({ store, journal }) => {
    const key = new Uint8Array(32).fill(2);
    const { recording, last } = await load({ store, journal, key }, 2);
    await inspect({ store, journal, key }, recording, last);
    await assertRejects(() => inspect({ store, journal }, recording, last), UblkError, "encrypted");
    const other = new Recording(MOST_BLOCKS);
    const created = other.add({ kind: "create", blocks: MOST_BLOCKS });
    other.add({ kind: "created", of: created });
    await assertRejects(
      () => inspect({ store, journal, key }, other, last),
      BrokenPromise,
      "nobody",
    );
  });
});

Deno.test("a recording promises what was answered before the mark, and no more", () => {
  const recording = new Recording(2);
  recording.add({ kind: "created", of: recording.add({ kind: "create", blocks: 2 }) });
  const write = (block: number, id: number) => {
    const of = recording.add({ kind: "write", block, count: 1, id });
    recording.add({ kind: "written", of, fua: false });
  };
  write(0, 1);
  const flush = recording.add({ kind: "flush" });
  write(1, 2);
  recording.add({ kind: "flushed", of: flush });
  const flushed = recording.mark();
  const sync = recording.add({ kind: "sync" });
  recording.add({ kind: "synced", of: sync });
  const synced = recording.mark();
  const passes = (mark: number, ending: "power" | "store", ...found: number[]) => {
    try {
      recording.at(mark).history.check(found, ending);
      return true;
    } catch (error) {
      if (error instanceof BrokenPromise) return false;
      throw error;
    }
  };
  assert(passes(0, "power", 0, 0));
  assert(!passes(flushed, "power", 0, 0), "the first write was flushed");
  assert(passes(flushed, "power", 1, 0), "the second was made after the flush");
  assert(passes(flushed, "store", 0, 0), "nothing was synced by then");
  assert(!passes(synced, "store", 1, 0));
  assert(passes(synced, "store", 1, 2));
  assert(!passes(0, "power", 0, 2), "no write without those that were answered before it");
});
