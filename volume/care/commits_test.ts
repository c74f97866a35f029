import { assertEquals } from "@std/assert";
import type { ChunkTable } from "../format/chunk.ts";
import { type Commit, commitsOf, continuing } from "./commits.ts";

/** A chunk of a commit. */
function chunk(number: number, epoch: number, first: number, last: number, part = 0, parts = 1) {
  return { number, epoch, first, last, part, parts, frames: [] } as unknown as ChunkTable;
}

const named = (commits: readonly Commit[]) =>
  commits.map(({ epoch, first, last }) => `${epoch}: ${first} to ${last}`);

Deno.test("commitsOf + one that a later writer has superseded + does not count", () => {
  const tables = [chunk(1, 1, 1, 5), chunk(2, 1, 6, 9), chunk(3, 2, 6, 7)];
  assertEquals(named(commitsOf(tables)), ["1: 1 to 5", "2: 6 to 7"]);
});

Deno.test("commitsOf + data that was moved + comes after the commits that it is of", () => {
  const tables = [chunk(3, 1, 6, 5), chunk(1, 1, 1, 5), chunk(4, 1, 6, 9), chunk(2, 1, 10, 9)];
  const commits = commitsOf(tables);
  assertEquals(named(commits), ["1: 1 to 5", "1: 6 to 5", "1: 6 to 9", "1: 10 to 9"]);
  // A move continues nothing: it has no batches.
  assertEquals(named(continuing(commits, { sequence: 5, epoch: 1 }, 10)), ["1: 6 to 9"]);
});

Deno.test("continuing + a commit of which a part is missing + is the end", () => {
  const commits = commitsOf([chunk(1, 1, 1, 5), chunk(2, 1, 6, 9, 0, 2), chunk(4, 1, 10, 12)]);
  assertEquals(named(continuing(commits, { sequence: 0, epoch: 1 }, 10)), ["1: 1 to 5"]);
});
