import { assertEquals } from "@std/assert";
import { openAllOfLibc } from "../uring/libc.ts";
import { useUpRun } from "./attach.ts";
import { Extents } from "./format/run.ts";
import { Maps } from "./maps.ts";

// Open libc for good, outside any test: the sanitizer would report a leak.
openAllOfLibc();

Deno.test("useUpRun enters a run, and gives its memory back", () => {
  const maps = new Maps(100, 4096);
  const run = new Extents();
  run.push(3, 2, 5000);
  run.push(7, 1, 6000);
  const buffers = [run.blocks, run.counts, run.places].map(({ buffer }) => buffer);
  useUpRun(maps, run);
  assertEquals([maps.chunks.extents, maps.chunks.find(3, 9), maps.chunks.place], [2, 2, 5000]);
  assertEquals(buffers.map(({ detached }) => detached), [true, true, true]);
});
