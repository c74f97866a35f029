import { assert, assertEquals } from "@std/assert";
import type { EngineHost } from "../disk/engine.ts";
import { Server } from "../tests/volumes/server.ts";
import { PLAIN_HABITS, World } from "../tests/volumes/world.ts";
import { LOOK, Pressure, SLOWED } from "./pressure.ts";
import { nthOfToken } from "./tokens.ts";

/** A pressure with a clock of its own, and the timers that it has begun. */
function made(waitUs = Infinity) {
  const timers: [which: number, us: number][] = [];
  const clock = { us: 0, looks: 0 };
  const host: Partial<EngineHost> = {
    timeout: (us, token) => void timers.push([nthOfToken(token), us]),
    nowUs: () => (clock.looks++, clock.us),
  };
  return { pressure: new Pressure(host as EngineHost, waitUs), timers, clock };
}

Deno.test("Pressure + a journal that is half empty + slows nothing, and looks at no clock", () => {
  const { pressure, timers, clock } = made();
  for (const used of [0, 0.3, 0.5]) assert(pressure.mayClose(used));
  assertEquals([timers, clock.looks, pressure.isOverdue(false)], [[], 0, false]);
});

Deno.test("Pressure + a journal that fills + has each batch wait once, the longer the fuller it is", () => {
  const { pressure, timers } = made();
  for (const used of [0.51, 0.6, 0.75, 0.9, 1]) {
    assert(!pressure.mayClose(used));
    assert(!pressure.mayClose(used), "one timer is enough");
    pressure.ended(SLOWED);
    assert(pressure.mayClose(used));
  }
  const waits = timers.map(([which, us]) => (assertEquals(which, SLOWED), us));
  assertEquals(waits, waits.toSorted((one, other) => one - other));
  assertEquals([waits.length, waits[0] < 100, waits[2], waits.at(-1)], [5, true, 5001, 20_001]);
});

Deno.test("Pressure + a journal that empties while a batch waits + the next one does not", () => {
  const { pressure, timers } = made();
  assert(!pressure.mayClose(0.9));
  pressure.ended(SLOWED);
  assert(pressure.mayClose(0.1));
  assert(pressure.mayClose(0.1));
  assert(!pressure.mayClose(0.9), "the pause was used up");
  assertEquals(timers.length, 2);
});

Deno.test("Pressure + a journal that stays full + is overdue after the wait, and not if it had room", () => {
  const { pressure, timers, clock } = made(16e6);
  assert(!pressure.isOverdue(true));
  clock.us = 15e6;
  assert(!pressure.isOverdue(true));
  assertEquals(timers, [[LOOK, 500_000]]);
  assert(!pressure.isOverdue(false));
  assert(!pressure.isOverdue(true));
  clock.us = 30e6;
  assert(!pressure.isOverdue(true));
  pressure.ended(LOOK);
  clock.us = 31e6;
  assert(pressure.isOverdue(true));
});

Deno.test("Pressure + a wait without an end + needs no looks", () => {
  const { pressure, timers, clock } = made();
  assert(!pressure.isOverdue(true));
  clock.us = 1e12;
  assert(!pressure.isOverdue(true));
  assertEquals(timers, []);
});

Deno.test("Pressure + writes that fill batches by themselves + are slowed as others are", async () => {
  const habits = { ...PLAIN_HABITS, segmentSize: 32 * 8192, segments: 4, requests: 12 };
  const world = new World(1, undefined, habits);
  await world.create();
  const server = await Server.start(world);
  const { host, engine } = server;
  const journal = habits.segmentSize * habits.segments;
  // More than a batch in each, and always more than one of them.
  const clients = () => {
    while (host.open < 8) server.write(0, 8, server.history.nextId(), false);
    host.batchEnd();
    host.step();
  };
  while (engine.completedPosition < journal * 0.48) clients();
  const quick = host.nowUs();
  while (engine.completedPosition < journal * 0.95) clients();
  assertEquals(quick, 0);
  // The simulated clock goes by timers alone: a third of the longest wait, for each batch.
  const batches = journal * 0.45 / 8192;
  const perBatch = (host.nowUs() - quick) / batches;
  assert(perBatch > 3000 && perBatch < 10_000, `${perBatch} µs`);
});
