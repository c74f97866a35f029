/**
 * Requests without data at disks that answer at once: a client that sends as many of them as it may
 * takes no more than its turn.
 */

import { assert, assertEquals } from "@std/assert";
import { join, NbdClient, type Sent } from "../tests/nbd_client.ts";
import { arrayDisk, NbdRig } from "../tests/nbd_rig.ts";
import { Turns } from "./turns.ts";

const MIB = 1 << 20;
const [READ, FLUSH, TRIM, CACHE, ZERO, STATUS] = [0, 3, 4, 5, 6, 7];
const NO_HOLE = 2;
/** Requests of a connection that are performed at once. */
const MOST = 256;

/** Keeps the thread busy. */
function work(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

/** Waits until the timer of a turn has ended it. */
const turnEnds = () => new Promise((resolve) => setTimeout(resolve, 10));

/** Requests that a disk answers at once, and the disk's time for all that one of them makes it do. */
const REQUESTS: readonly [name: string, request: Sent, ms: number, most: number][] = [
  ["TRIM", { command: TRIM, length: MIB }, 1, MOST],
  ["WRITE_ZEROES", { command: ZERO, flags: NO_HOLE, length: MIB }, 1, MOST],
  ["FLUSH", { command: FLUSH }, 1, MOST],
  ["CACHE", { command: CACHE, length: MIB }, 1, MOST],
  ["BLOCK_STATUS", { command: STATUS, length: 65536 }, 0.01, MOST * 128],
];

// Regression: all 256 requests of a client were performed in one turn of the event loop. With a large
// RAM disk another client waited 3 s for its READ, and 9 s with a file of many extents.
for (const [name, request, ms, most] of REQUESTS) {
  Deno.test(`${MOST} times ${name} of one client + another one's READ + comes in between`, async () => {
    let calls = 0;
    const busy = () => {
      calls++;
      work(ms);
    };
    const disk = arrayDisk(MIB, {
      ...{ synchronous: true, trim: busy, writeZeroes: busy, flush: busy },
      readAt: (buffer) => buffer.length === MIB ? busy() : undefined,
      extentAt: (offset) => {
        busy();
        return { length: 512, isHole: offset % 1024 === 0 };
      },
    });
    await using rig = await NbdRig.of({ backend: disk });
    using good = await NbdClient.at(rig.path);
    using bad = await NbdClient.at(rig.path, "structured", "", true);
    const all = Array.from(
      { length: MOST },
      (_, nth) => bad.encode({ ...request, cookie: BigInt(nth) }),
    );
    await bad.send(join(...all));
    while (calls === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    const before = calls;
    await good.perform({ command: READ, length: 512 });
    const [during, left] = [calls - before, most - calls];
    assert(during < most / 4 && left > most / 4, `${during} calls meanwhile, ${left} left`);
  });
}

Deno.test("256 times TRIM of one client + another one's TRIM + has its turn before them", async () => {
  const calls: number[] = [];
  const disk = arrayDisk(MIB, {
    synchronous: true,
    trim(offset) {
      calls.push(offset);
      work(1);
    },
  });
  await using rig = await NbdRig.of({ backend: disk });
  using good = await NbdClient.at(rig.path);
  using bad = await NbdClient.at(rig.path);
  const one = bad.encode({ command: TRIM, length: 512 });
  await bad.send(join(...Array(MOST).fill(one)));
  await good.perform({ command: TRIM, offset: 512, length: 512 });
  assert(calls.indexOf(512) < MOST / 4, `its turn was the ${calls.indexOf(512)}th`);
});

Deno.test("Turns + work while there is time + is done at once, and else in the lines' turns", async () => {
  let nowMs = 0;
  const turns = new Turns(5, () => nowMs);
  const [some, other] = [turns.line(), turns.line()];
  const done: string[] = [];
  const step = (name: string, ms: number) => () => {
    done.push(name);
    nowMs += ms;
    return name;
  };
  assertEquals(some.run(step("a", 0)), "a");
  assertEquals(some.run(step("b", 6)), "b");
  const later = [
    some.run(step("c", 6)),
    some.run(step("d", 6)),
    other.run(step("e", 6)),
    other.run(step("f", 0)),
  ];
  assertEquals(done, ["a", "b"]);
  assertEquals(await Promise.all(later), ["c", "d", "e", "f"]);
  assertEquals(done, ["a", "b", "c", "e", "d", "f"]);
  await turnEnds();
});

Deno.test("Turns + work that throws, or ends later + ends so for whoever asked", async () => {
  const turns = new Turns(0);
  const line = turns.line();
  assertEquals(await line.run(() => Promise.resolve(1)), 1);
  const thrown = line.run<number>(() => {
    throw new Error("no");
  });
  const after = line.run(() => 2);
  assertEquals(await Promise.resolve(thrown).catch((error) => error.message), "no");
  assertEquals(await after, 2);
  await turnEnds();
});

// Regression: a server that closed within a millisecond of a FLUSH left the timer of that turn behind.
Deno.test("Turns + the end + leaves no timer, unless work waits", async () => {
  const turns = new Turns();
  assertEquals(await turns.line().run(() => 1), 1);
  turns.end();
  const busy = new Turns(0);
  const line = busy.line();
  line.run(() => 1);
  const waits = line.run(() => 2);
  busy.end();
  assertEquals(await waits, 2);
  await new Promise((resolve) => setTimeout(resolve, 10));
});
