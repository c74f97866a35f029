import { assertEquals, assertThrows } from "@std/assert";
import { VmError } from "./host.ts";
import { atOnce, takeTurn } from "./turns.ts";

/** Runs `body` with a cache folder of its own. */
async function inOwnCache(body: (folder: string) => Promise<void>): Promise<void> {
  const before = Deno.env.get("UBLK_VM_CACHE");
  const folder = await Deno.makeTempDir();
  Deno.env.set("UBLK_VM_CACHE", folder);
  try {
    await body(folder);
  } finally {
    if (before === undefined) Deno.env.delete("UBLK_VM_CACHE");
    else Deno.env.set("UBLK_VM_CACHE", before);
    await Deno.remove(folder, { recursive: true });
  }
}

/** Waits for turns, and writes down who got one in which order. */
class Queue {
  readonly admitted: string[] = [];
  readonly turns = new Map<string, Disposable>();

  async come(name: string, places: number, signal?: AbortSignal, total = 2): Promise<void> {
    const turn = await takeTurn("test", { places, total }, `${name} waits`, signal);
    this.admitted.push(name);
    this.turns.set(name, turn);
  }

  leave(name: string): void {
    this.turns.get(name)![Symbol.dispose]();
  }
}

/** Resolves once so many have a number: only then is their order settled. */
async function numbers(folder: string, count: number): Promise<void> {
  while ([...Deno.readDirSync(`${folder}/test`)].length !== count) await pause(10);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Long enough for somebody to be admitted who must not be. */
const POLLS_MS = 700;

Deno.test("takeTurn admits as many as there are places, first come, first served", async () => {
  await inOwnCache(async (folder) => {
    const queue = new Queue();
    await queue.come("a", 1);
    await queue.come("b", 1);
    const whole = queue.come("whole", 2);
    await numbers(folder, 3);
    const last = queue.come("last", 1);
    await numbers(folder, 4);
    queue.leave("a");
    // There is a place for the last one, but one that came before wants both.
    await pause(POLLS_MS);
    assertEquals(queue.admitted, ["a", "b"]);
    queue.leave("b");
    await whole;
    await pause(POLLS_MS);
    assertEquals(queue.admitted, ["a", "b", "whole"]);
    queue.leave("whole");
    await last;
    queue.leave("last");
  });
});

Deno.test("takeTurn passes over those who have died or given up", async () => {
  await inOwnCache(async (folder) => {
    await Deno.mkdir(`${folder}/test`);
    await Deno.writeTextFile(`${folder}/test/7-2`, ""); // Nobody has it locked.
    const queue = new Queue();
    await queue.come("first", 2);
    const abort = new AbortController();
    const impatient = queue.come("impatient", 2, abort.signal).catch(() => "gave up");
    // The dead one's file is removed by the first who looks.
    await numbers(folder, 2);
    const next = queue.come("next", 1);
    await numbers(folder, 3);
    abort.abort();
    assertEquals(await impatient, "gave up");
    queue.leave("first");
    await next;
    assertEquals(queue.admitted, ["first", "next"]);
    queue.leave("next");
  });
});

Deno.test("takeTurn + all places + nobody is beside it, however many places others count", async () => {
  await inOwnCache(async (folder) => {
    const queue = new Queue();
    await queue.come("measures", Infinity);
    const wide = queue.come("wide", 1, undefined, 3);
    await numbers(folder, 2);
    await pause(POLLS_MS);
    assertEquals(queue.admitted, ["measures"]);
    const again = queue.come("measures again", Infinity, undefined, 3);
    await numbers(folder, 3);
    queue.leave("measures");
    await wide;
    await pause(POLLS_MS);
    assertEquals(queue.admitted, ["measures", "wide"]);
    queue.leave("wide");
    await again;
    queue.leave("measures again");
  });
});

Deno.test("takeTurn + files that are nobody's ticket + are left alone", async () => {
  await inOwnCache(async (folder) => {
    await Deno.mkdir(`${folder}/test`);
    await Deno.writeTextFile(`${folder}/test/.nfs0001-x`, "");
    const queue = new Queue();
    await queue.come("a", 1);
    await queue.come("b", 1);
    assertEquals(queue.admitted, ["a", "b"]);
    assertEquals([...Deno.readDirSync(`${folder}/test`)].map(({ name }) => name).sort(), [
      ".nfs0001-x",
      "1-1",
      "2-1",
    ]);
    queue.leave("a");
    queue.leave("b");
  });
});

Deno.test("atOnce + what is no number of guests + is refused", () => {
  assertEquals([atOnce("3", 2), atOnce(undefined, 2), atOnce("", 2)], [3, 2, 2]);
  for (const value of ["0", "-1", "1.5", "many"]) {
    assertThrows(() => atOnce(value, 2), VmError, "UBLK_VM_AT_ONCE");
  }
});
