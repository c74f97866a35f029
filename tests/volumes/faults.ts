/**
 * Servers on machines and stores that fail: what is acknowledged is kept all the same, and what
 * cannot be kept is not acknowledged.
 *
 * @module
 */

import { ProcessEnded } from "../../files/crashable_machine.ts";
import { drawnFaults, type FaultRates, type FileFaults } from "../../files/file_faults.ts";
import { drawnStoreFaults, type StoreFaultRates, type StoreFaults } from "../../store/faults.ts";
import { StoreError } from "../../store/store.ts";
import { EIO, ENOSPC } from "../../uapi/errno.ts";
import { isUblkError } from "../../uapi/error.ts";
import { UBLK_IO_OP_FLUSH, UBLK_IO_OP_READ } from "../../uapi/ublk_io.ts";
import { ObjectNames } from "../../volume/names.ts";
import { BrokenPromise } from "./history.ts";
import { Server, type ServerOptions } from "./server.ts";
import { hasEnded, NAME, simulate, type World } from "./world.ts";

const LIVES = 3;
const ROUNDS = 4;
const { head: HEAD, chunks: CHUNKS } = new ObjectNames(NAME);

function actsOf(world: World): number {
  return 20 + world.dice.draw(300);
}

/** Starts a server after the last one's end, and compares what it finds. */
async function checkAfter(
  world: World,
  ending: "killed" | "power",
  promised = ending,
): Promise<void> {
  world.end(ending);
  const next = await Server.start(world);
  world.history.check(next.contents(), promised);
  if (promised === ending) return world.end("killed");
  // All that was found stays: nothing of it is in the page cache alone.
  world.end("power");
  const again = await Server.start(world);
  world.history.check(again.contents(), "killed");
  world.end("killed");
}

/** Transfers are interrupted and short: nobody notices. */
export async function interruptions(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { machine, dice } = world;
    for (let life = 0; life < LIVES; life++) {
      machine.faults = drawnFaults(dice, { interrupted: 3 });
      const server = await Server.start(world);
      for (let act = actsOf(world); act > 0; act--) await server.act();
      await server.finish();
      await checkAfter(world, dice.draw(2) === 0 ? "killed" : "power");
    }
  });
}

/** Reads, writes and syncs of files fail. */
export async function brokenFiles(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { machine, dice } = world;
    for (let life = 0; life < LIVES; life++) {
      const rates: FaultRates = dice.draw(2) === 0 ? { broken: 30 } : { unsynced: 4 };
      const under = ["/journal/", "/store/", "/"][dice.draw(3)];
      const drawn = drawnFaults(dice, rates);
      let isSyncLost = false;
      const options: ServerOptions = {
        mayFail: () => true,
        mayFailCommit: (error) => {
          if (!isUblkError(error)) return error instanceof StoreError;
          // Batches that a failed sync has lost cannot be drained.
          if (error.code === "VOLUME_DAMAGED") return isSyncLost;
          return error.code === "SYSCALL_FAILED";
        },
      };
      const faults: FileFaults = (operation) => {
        const fault = operation.path.startsWith(under) ? drawn(operation) : undefined;
        if (fault !== undefined && operation.name === "sync") isSyncLost = true;
        return fault;
      };
      if (dice.draw(3) === 0) machine.faults = faults;
      let server: Server | undefined;
      while (server === undefined) {
        try {
          server = await Server.start(world, options);
        } catch (error) {
          const isFault = error instanceof StoreError || isUblkError(error) && error.errno === EIO;
          if (!isFault) throw error;
          world.end("killed");
        }
      }
      machine.faults = faults;
      for (let act = actsOf(world); act > 0; act--) await server.act();
      if (!server.hasFailed && server.reports.some((words) => words.includes("no more writes"))) {
        server.hasFailed = true;
      }
      // A failed sync has perhaps lost what was only answered.
      const ending = dice.draw(2) === 0 ? "killed" : "power";
      await checkAfter(world, ending, isSyncLost ? "power" : ending);
    }
  });
}

/** A lease in milliseconds, which is renewed beside commits. */
const LEASE_MS = 1000;

/** Calls to the store fail: the drain goes on later, and is fenced only if it is true. */
export async function brokenStore(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { machine, dice } = world;
    world.leaseMs = dice.draw(2) * LEASE_MS;
    for (let life = 0; life < LIVES; life++) {
      const lies = dice.draw(3) === 0;
      const rates: StoreFaultRates = {
        ...{ unavailable: 20, full: 40, late: 30, "lost answer": 20, "lost race": 10 },
        ...lies ? { short: 15, flipped: 15 } : {},
      };
      const isFault = (error: unknown) =>
        error instanceof StoreError ||
        lies && isUblkError(error) && error.code === "VOLUME_DAMAGED";
      const faults = drawnStoreFaults(dice, rates);
      const options: ServerOptions = { mayFailCommit: isFault };
      const ending = (["killed", "power", "detached"] as const)[dice.draw(3)];
      let server: Server | undefined;
      // Lost answers of a claim leave a head of ours.
      while (server === undefined) {
        try {
          server = await Server.start(world, {
            ...options,
            storeFaults: dice.draw(2) === 0 ? faults : undefined,
          });
        } catch (error) {
          if (!isFault(error)) throw error;
          world.end("killed");
        }
      }
      try {
        server.store.faults = faults;
        if (ending !== "detached") machine.endsAt = machine.operations + 10 + dice.draw(1000);
        for (let act = actsOf(world); act > 0; act--) await server.act();
        if (ending !== "detached") throw new ProcessEnded();
        await server.detach();
        await server.store.arrive();
      } catch (error) {
        if (!hasEnded(error) || ending === "detached") throw error;
      }
      await checkAfter(world, ending === "power" ? "power" : "killed");
    }
  });
}

/**
 * The head cannot be replaced while data is moved: nobody knows whether the move counts. Meanwhile the
 * disk gets other sizes, and garbage is collected. The engine finds all that it reads. Of some worlds
 * the store flips bits of the data that is to be moved.
 */
export async function brokenMoves(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { dice } = world;
    const lies = dice.draw(3) === 0;
    const server = await Server.start(world, {
      mayFailCommit: (error) =>
        error instanceof StoreError ||
        lies && isUblkError(error) && error.code === "VOLUME_DAMAGED",
    });
    const drawn = drawnStoreFaults(dice, { unavailable: 3, late: 4, "lost answer": 4 });
    const lie = drawnStoreFaults(dice, lies ? { flipped: 4 } : {});
    const faults: StoreFaults = (call) => {
      if (call.name === "replace" && call.object === HEAD) return drawn(call);
      if (call.name === "get" && call.object.startsWith(CHUNKS)) return lie(call);
    };
    for (let round = 0; round < ROUNDS; round++) {
      server.store.faults = undefined;
      for (let act = dice.draw(60); act > 0; act--) await server.act();
      await server.drain();
      server.store.faults = faults;
      for (let act = dice.draw(30); act > 0; act--) await server.actOnMoves();
    }
    await server.finish();
    if (dice.draw(2) === 0) await server.detach();
    await checkAfter(world, dice.draw(2) === 0 ? "killed" : "power");
  });
}

/** The store's disk is full, and later has room again: writes wait or fail, reads go on. */
export async function fullStore(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { machine, dice } = world;
    for (let life = 0; life < LIVES; life++) {
      const failsWhenFull = dice.draw(2) === 0;
      const isFull = (error: unknown) => error instanceof StoreError && error.fault === "full";
      const server = await Server.start(world, {
        failsWhenFull,
        mayFail: (op, errno) =>
          failsWhenFull && errno === ENOSPC && op !== UBLK_IO_OP_READ && op !== UBLK_IO_OP_FLUSH,
        mayFailCommit: isFull,
      });
      const free = machine.freeBytes;
      const left = dice.draw(4) * 4096;
      machine.grow(left - free);
      for (let act = actsOf(world); act > 0; act--) await server.act();
      // The journal fills; whatever waits, reads do not.
      for (let block = 0; block < Math.min(8, server.blocks); block++) {
        if (server.host.hasRoom) server.read(block, 1);
      }
      for (let turn = 0; turn < 200 && server.host.reading > 0; turn++) await server.turn();
      if (server.host.reading > 0) throw new BrokenPromise("a full store stops reads");
      server.host.batchEnd();
      const isStuck = server.host.open > 0 && server.host.underWay === 0;
      if (isStuck && server.hurries === 0) throw new BrokenPromise("a full journal hurries nobody");
      // A flush that needs the store waits for it.
      if (failsWhenFull && !world.habits.isDurableInStore) await server.finish();
      machine.grow(free - left);
      await server.finish();
      if (dice.draw(2) === 0) await server.detach();
      await checkAfter(world, dice.draw(2) === 0 ? "killed" : "power");
    }
  }, 1 << 24);
}
