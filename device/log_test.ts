import { BaseHandler, setup } from "@std/log";
import { assertEquals, assertLess } from "@std/assert";
import { LOG_INFO, LogWriter } from "../queue/log_ring.ts";
import { openAllOfLibc } from "../uring/libc.ts";
import { LOGGER, ThreadLogs } from "./log.ts";

// Opened for good, and before a test, whose sanitizer would call it a leak.
openAllOfLibc();

/** Collects what is logged until disposed of. */
function collected() {
  const messages: string[] = [];
  class Collector extends BaseHandler {
    override log(message: string): void {
      messages.push(message);
    }
  }
  const collector = new Collector("DEBUG", { formatter: ({ msg }) => msg });
  setup({
    handlers: { collector },
    loggers: { [LOGGER]: { level: "DEBUG", handlers: ["collector"] } },
  });
  return { messages, [Symbol.dispose]: () => setup({}) };
}

/** Counts the timers that are set until disposed of. */
function countedTimers() {
  const { setTimeout, setInterval } = globalThis;
  const count = { timers: 0 };
  const counting = <A extends unknown[], R>(set: (...args: A) => R) => (...args: A) => {
    count.timers++;
    return set(...args);
  };
  Object.assign(globalThis, {
    setTimeout: counting(setTimeout),
    setInterval: counting(setInterval),
  });
  return {
    count,
    [Symbol.dispose]: () => Object.assign(globalThis, { setTimeout, setInterval }),
  };
}

const sleep = globalThis.setTimeout;
const pause = (ms: number) => new Promise((resolve) => sleep(resolve, ms));

// A timer of 50 ms per device emptied the rings: 20 wake-ups a second each, for nothing.
Deno.test("ThreadLogs wakes nothing while nothing is logged", async () => {
  using timers = countedTimers();
  using logs = new ThreadLogs(LOG_INFO, "");
  logs.add();
  logs.add();
  await pause(120);
  assertEquals(timers.count.timers, 0);
});

Deno.test("ThreadLogs hands on what is logged, again and again, and the rest at its end", async () => {
  using output = collected();
  const logs = new ThreadLogs(LOG_INFO, "device 3: ");
  const writers = [logs.add(), logs.add()].map((buffer) => new LogWriter(buffer));
  const expected: string[] = [];
  for (let round = 0; round < 4; round++) {
    writers[round % 2].text(LOG_INFO, `${round}`);
    expected.push(`device 3: ${round}`);
    while (output.messages.length < expected.length) await pause(1);
    // At the end of it the ring is followed again.
    if (round === 2) await pause(80);
  }
  writers[0].text(LOG_INFO, "last");
  logs[Symbol.dispose]();
  assertEquals(output.messages, [...expected, "device 3: last"]);
});

Deno.test("ThreadLogs is not woken for each record of a flood", async () => {
  using output = collected();
  using timers = countedTimers();
  const began = performance.now();
  {
    using logs = new ThreadLogs(LOG_INFO, "");
    const writer = new LogWriter(logs.add());
    for (let record = 0; record < 300; record++) {
      writer.text(LOG_INFO, `${record}`);
      await pause(1);
    }
  }
  assertEquals(output.messages.length, 300);
  const turns = (performance.now() - began) / 50 + 1;
  assertLess(timers.count.timers, turns + 1, "one timer each 50 ms at most");
});
