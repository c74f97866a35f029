/**
 * A journal whose space was not allocated, or is allocated anew at each write, on a disk that is full
 * for a while.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { FileFaults } from "../../files/file_faults.ts";
import { Server, type ServerOptions } from "../../tests/volumes/server.ts";
import { eachSeed } from "../../tests/seeds.ts";
import { JOURNAL, PLAIN_HABITS, simulate, World } from "../../tests/volumes/world.ts";
import { EIO, ENOSPC } from "../../uapi/errno.ts";

const FULL: FileFaults = ({ name, path }) =>
  name === "write" && path.startsWith(JOURNAL) ? { errno: ENOSPC } : undefined;

async function made(hasCheapDurability = false) {
  const world = new World(1, undefined, PLAIN_HABITS);
  world.machine.hasCheapDurability = hasCheapDurability;
  await world.create();
  const errnos: number[] = [];
  const mayFail = (_: number, errno: number) => errnos.push(errno) > 0;
  return { world, server: await Server.start(world, { mayFail }), errnos };
}

function write(server: Server, block: number, fua = false): void {
  server.write(block, 1, server.history.nextId(), fua);
}

for (const hasCheapDurability of [false, true]) {
  const how = hasCheapDurability ? "durable writes" : "plain writes";
  Deno.test(`JournalWriter + a disk that is full, ${how} + ENOSPC until there is room, and nothing is lost`, async () => {
    const { world, server, errnos } = await made(hasCheapDurability);
    write(server, 0, true);
    server.serve();
    world.machine.faults = FULL;
    for (let round = 1; round < 4; round++) {
      write(server, 1, true);
      server.host.batchEnd();
      write(server, 2, true);
      server.serve();
      assertEquals(errnos, new Array(2 * round).fill(ENOSPC));
    }
    // What was answered is durable, and can be read.
    server.flush();
    server.serve();
    assertEquals([errnos.length, server.contents()[0]], [6, 1]);
    assertEquals(server.reports.length, 1);
    assertMatch(server.reports[0], /disk is full: writes fail with ENOSPC until it has room/);
    world.machine.faults = undefined;
    write(server, 3, true);
    server.serve();
    assertEquals(errnos.length, 6);
    await server.drain();
    write(server, 4, true);
    server.serve();
    world.end("power");
    const next = await Server.start(world);
    world.history.check(next.contents(), "power");
  });
}

Deno.test("JournalWriter + a durable write that finds no space while others are in doubt + is the end", async () => {
  const { world, server, errnos } = await made(true);
  for (let nth = 0; nth < 4; nth++) {
    write(server, nth);
    server.serve();
  }
  world.machine.faults = FULL;
  write(server, 5, true);
  server.serve();
  world.machine.faults = undefined;
  write(server, 6);
  server.serve();
  assertEquals(errnos, [EIO, EIO]);
});

Deno.test("JournalWriter + a sync that finds no space + is the end", async () => {
  const { world, server, errnos } = await made();
  write(server, 0);
  server.serve();
  world.machine.faults = ({ name }) => name === "sync" ? { errno: ENOSPC } : undefined;
  server.flush();
  server.serve();
  world.machine.faults = undefined;
  server.flush();
  write(server, 0);
  server.serve();
  assertEquals(errnos, [EIO, EIO, EIO]);
});

Deno.test("JournalWriter + a disk that is full + a volume can be closed all the same", async () => {
  const { world, server } = await made();
  write(server, 0);
  server.serve();
  world.machine.faults = FULL;
  write(server, 1);
  server.serve();
  assertEquals([server.host.open, server.host.underWay], [0, 0]);
  await server.drain();
  world.end("killed");
  const next = await Server.start(world);
  world.history.check(next.contents(), "killed");
});

Deno.test("a volume keeps its promises although its journal's disk is full now and then", async (t) => {
  let [refused, ended, lives] = [0, 0, 0];
  await eachSeed(t, 30, (seed) =>
    simulate(seed, async (world) => {
      const { machine, dice } = world;
      for (let life = 0; life < 3; life++) {
        lives++;
        // A durable write may be the end.
        const hasEnded = () => server.reports.some((words) => words.includes("no more writes"));
        const mayFail: ServerOptions["mayFail"] = (_, errno) => errno === ENOSPC || hasEnded();
        const server: Server = await Server.start(world, { mayFail });
        const oneIn = 1 + dice.draw(4);
        let isFull = false;
        machine.faults = (operation) => {
          const fault = isFull && dice.draw(oneIn) === 0 ? FULL(operation) : undefined;
          if (fault !== undefined) refused++;
          return fault;
        };
        for (let act = 0; act < 400 && !hasEnded(); act++) {
          if (dice.draw(20) === 0) isFull = !isFull;
          await server.act();
        }
        if (hasEnded()) ended++;
        const ending = dice.draw(2) === 0 ? "killed" : "power";
        world.end(ending);
        const next = await Server.start(world);
        world.history.check(next.contents(), ending);
        world.end("killed");
      }
    }));
  assert(refused > 50 && ended < lives / 10, `${refused} writes found no space, ${ended} ends`);
});
