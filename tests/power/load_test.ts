import { assert, assertEquals, assertRejects } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import { BrokenPromise } from "../volumes/history.ts";
import { inFolder } from "../volumes/folders.ts";
import { inspect } from "./inspect.ts";
import { runLoad } from "./load.ts";
import { Recording } from "./recording.ts";
import { MOST_BLOCKS } from "./load.ts";

async function load(store: string, journal: string, seed: number) {
  const recording = new Recording(MOST_BLOCKS);
  const marks: number[] = [];
  const mark = (number: number) => void marks.push(number);
  await Deno.mkdir(store);
  await runLoad({ store, journal, recording, mark, dice: new Dice(seed) });
  assertEquals(marks, marks.map((_, nth) => 1 + nth));
  assert(marks.length > 20, "it flushes often");
  return { recording, last: marks.length };
}

Deno.test("a load leaves a volume that passes its inspection, and not that of another load", async () => {
  await inFolder(async ({ store, journal }) => {
    const { recording, last } = await load(store, journal, 1);
    await inspect({ store, journal }, recording, last);
  });
  await inFolder(async ({ store, journal }) => {
    const { last } = await load(store, journal, 2);
    const other = new Recording(MOST_BLOCKS);
    const created = other.add({ kind: "create", blocks: MOST_BLOCKS });
    other.add({ kind: "created", of: created });
    await assertRejects(() => inspect({ store, journal }, other, last), BrokenPromise, "nobody");
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
