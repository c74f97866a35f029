/**
 * Making a journal, which ends at any operation: the next attachment finds everything, or says what is
 * missing, or knows that somebody has given it up.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { CrashableProcess } from "../files/crashable.ts";
import { CrashableMachine, ProcessEnded } from "../files/crashable_machine.ts";
import { MemoryStore } from "../store/memory.ts";
import { StoreError } from "../store/store.ts";
import { Server } from "../tests/volumes/server.ts";
import { hasEnded, JOURNAL, PLAIN_HABITS, World } from "../tests/volumes/world.ts";
import { eachSeed } from "../tests/seeds.ts";
import { Dice } from "../uapi/dice.ts";
import { EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { lostWords, removedWords } from "./lost.ts";
import { Volume } from "./volume.ts";

// It stays open for the life of the process, which is no leak of the test that opens it first.
openAllOfLibc();

/** The files of the journal cannot be read until another one is there. */
function makeUnreadable({ machine }: World): void {
  machine.faults = ({ name, path }) => {
    if (name === "rename" && path.startsWith(JOURNAL)) machine.faults = undefined;
    return name === "read" && path.startsWith(`${JOURNAL}/journal-0`) ? { errno: EIO } : undefined;
  };
}

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
  makeUnreadable(world);
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

Deno.test("takeVolume + without the journal, which is there + nothing is lost", async (t) => {
  await eachSeed(t, 12, async (seed) => {
    const world = new World(seed, undefined, PLAIN_HABITS);
    await world.create();
    const server = await Server.start(world);
    for (let block = 0; block < 6; block++) {
      server.write(block, 1, server.history.nextId(), true);
      server.serve();
    }
    world.end("killed");
    for (const force of [false, true]) {
      const next = await Server.start(world, { withoutJournal: true, force });
      assertEquals(next.taken.lost, undefined);
      assertEquals(next.taken.identity.journal, server.taken.identity.journal);
      world.history.check(next.contents(), "killed");
      world.end("killed");
    }
    // What cannot be read can be given up.
    makeUnreadable(world);
    const last = await Server.start(world, { withoutJournal: true });
    assert(last.taken.lost !== undefined);
    world.history.check(last.contents(), "store");
  });
});

Deno.test("takeVolume + the journal of who was cut off + it is said that it goes", async () => {
  const machine = new CrashableMachine(1, 128 << 20);
  const store = new MemoryStore();
  const lines: string[] = [];
  const open = (journal: string, withoutJournal = false) =>
    Volume.open("v", {
      ...{ store, journal: `/${journal}`, journalSize: "16M", withoutJournal },
      ...{ files: new CrashableProcess(machine), report: (line) => lines.push(line) },
    });
  await Volume.create("v", { store, size: "1M" });
  const cutOff = await open("first");
  await cutOff.write(new Uint8Array(4096).fill(1), 0);
  const other = await open("second", true);
  await assertRejects(() => cutOff.close(), UblkError);
  await other.close();
  lines.length = 0;
  await (await open("first")).close();
  assertEquals(lines, [removedWords("v", "/first/v")]);
  // It was left in order since.
  lines.length = 0;
  await (await open("second")).close();
  await (await open("first")).close();
  assertEquals(lines, []);
});

Deno.test("what goes with a journal that was kept is said in a line", () => {
  assertEquals(
    removedWords("db", "/j/db"),
    "volume db has a new journal in /j/db; the one that was there was not left in order: what it " +
      "alone may have had is gone",
  );
});

/** Begins to serve, and ends at the nth operation of that. @returns Whether it came to that operation. */
async function endsStart(world: World, operation: number, ending: "killed" | "power") {
  world.machine.endsAt = world.machine.operations + operation;
  let isOver = false;
  try {
    await Server.start(world);
    isOver = true;
  } catch (error) {
    if (!(error instanceof ProcessEnded) && !hasEnded(error)) throw error;
  }
  world.end(ending);
  return !isOver;
}

Deno.test("a first journal + its maker is killed, and the power fails under the next one + it is there", async (t) => {
  let ends = 0;
  await eachSeed(t, 300, async (seed) => {
    const dice = new Dice(seed);
    const world = new World(seed, undefined, PLAIN_HABITS);
    await world.create();
    await endsStart(world, 1 + dice.draw(60), "killed");
    if (await endsStart(world, 1 + dice.draw(60), "power")) ends++;
    const last = await Server.start(world);
    world.history.check(last.contents(), "power");
  });
  assert(ends > 0);
});

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

Deno.test("takeVolume + the head of an attempt that failed arrives during the next one + goes on", async () => {
  const machine = new CrashableMachine(1, 64 << 20);
  const inner = new MemoryStore();
  await Volume.create("v", { store: inner, size: "1M" });
  const late: (() => Promise<unknown>)[] = [];
  let isLate = true;
  const store = new Proxy(inner, {
    get(target, name) {
      if (name !== "replace") {
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (...args: Parameters<MemoryStore["replace"]>) => {
        if (isLate) {
          late.push(() => target.replace(...args));
          throw new StoreError("unavailable", "replace: no answer came");
        }
        for (const work of late.splice(0)) await work();
        return await target.replace(...args);
      };
    },
  });
  const options = { store, journal: "/journal", journalSize: "16M" };
  const files = () => new CrashableProcess(machine);
  await assertRejects(
    () => Volume.open("v", { ...options, files: files(), patienceMs: 1 }),
    StoreError,
  );
  isLate = false;
  await using volume = await Volume.open("v", { ...options, files: files() });
  assertEquals(volume.lost, undefined);
});
