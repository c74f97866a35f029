/**
 * Making a journal, which ends at any operation: the next attachment finds everything, or says what is
 * missing, or knows that somebody has given it up.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { ProcessEnded } from "../files/crashable_machine.ts";
import { Server } from "../tests/volumes/server.ts";
import { hasEnded, PLAIN_HABITS, World } from "../tests/volumes/world.ts";
import { UblkError } from "../uapi/error.ts";
import { lostWords } from "./lost.ts";

/**
 * Gives up the journal of a killed server, ends at the nth operation of that, and attaches again.
 *
 * @returns Whether it came to that operation.
 */
async function endAt(operation: number, ending: "killed" | "power", seed: number) {
  const world = new World(seed, undefined, PLAIN_HABITS);
  await world.create();
  const server = await Server.start(world);
  for (let block = 0; block < 6; block++) {
    server.write(block, 1, server.history.nextId(), true);
    server.serve();
  }
  world.end("killed");
  const epoch = world.epoch;
  world.machine.endsAt = world.machine.operations + operation;
  let isOver = false;
  try {
    await Server.start(world, { withoutJournal: true });
    isOver = true;
  } catch (error) {
    if (!(error instanceof ProcessEnded) && !hasEnded(error)) throw error;
  }
  world.end(ending);
  try {
    const next = await Server.start(world);
    // Whoever has claimed the volume has given up what its journal had.
    const wasClaimed = next.taken.committed.epoch > epoch + 1;
    world.history.check(next.contents(), wasClaimed ? "store" : ending);
  } catch (error) {
    // Not silently: the journal is gone, and that is said.
    if (!(error instanceof UblkError) || error.code !== "VOLUME_JOURNAL") throw error;
    const again = await Server.start(world, { withoutJournal: true });
    assert(again.taken.lost !== undefined, "it is said again");
    world.history.check(again.contents(), "store");
  }
  return isOver;
}

for (const ending of ["killed", "power"] as const) {
  Deno.test(`a journal that is given up + ${ending} at each operation + nothing is lost in silence`, async () => {
    for (let operation = 1;; operation++) {
      let isOver = false;
      for (let seed = 1; seed <= 4; seed++) isOver = await endAt(operation, ending, seed);
      if (isOver) {
        assert(operation > 30, `${operation} operations`);
        return;
      }
    }
  });
}

Deno.test("what is lost with a journal is said in a line", () => {
  const lost = { host: "alder (process 7)", time: Date.UTC(2026, 0, 2), bytes: 4096 };
  const begins = "volume db goes on without its journal: what was acknowledged before " +
    "2026-01-02T00:00:00.000Z, when alder (process 7) had it attached, is there; ";
  assertEquals(
    lostWords("db", lost),
    `${begins}of what came later 4096 bytes are lost, and perhaps more`,
  );
  assertEquals(
    lostWords("db", { ...lost, bytes: 0 }),
    `${begins}what came later is lost, and nothing tells how much that was`,
  );
});
