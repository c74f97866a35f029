/**
 * Volumes that go on without their journal: after it is lost with its machine, and while a server
 * that is cut off still lives.
 *
 * @module
 */

import { CrashableProcess } from "../../files/crashable.ts";
import { Contents } from "../../files/crashable_contents.ts";
import { ProcessEnded } from "../../files/crashable_machine.ts";
import { isUblkError } from "../../uapi/error.ts";
import { readIdentity } from "../../volume/journal/identity.ts";
import { BrokenPromise } from "./history.ts";
import { Server } from "./server.ts";
import { hasEnded, JOURNAL, OTHER_JOURNAL, settle, simulate, type World } from "./world.ts";

/** The lease in milliseconds, if servers have one. */
const LEASE_MS = 1000;

/**
 * A machine is lost with its journal, again and again: the volume opens as the store has it. The old
 * journal is refused from then on. If the journal is there after all, and whole, nothing is lost.
 */
export async function lostJournals(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { machine, dice, history, seam, habits } = world;
    world.leaseMs = dice.draw(2) * LEASE_MS;
    let folder = JOURNAL;
    for (let life = 0; life < 4; life++) {
      let hasCommitted = false;
      try {
        machine.endsAt = machine.operations + 100 + dice.draw(600);
        const server = await Server.start(world, {
          folder,
          onCommit: () => hasCommitted = true,
        });
        for (let act = 50 + dice.draw(200); act > 0; act--) await server.act();
        throw new ProcessEnded();
      } catch (error) {
        if (!hasEnded(error)) throw error;
      }
      const ending = dice.draw(2) === 0 ? "power" : "killed";
      world.end(ending);
      // In the same folder, or in another one.
      const old = folder;
      if (dice.draw(3) > 0) folder = folder === JOURNAL ? OTHER_JOURNAL : JOURNAL;
      if (folder !== old && dice.draw(2) === 0) await refuse(world, folder, life > 0);
      const isWhole = folder === old && dice.draw(3) === 0;
      if (folder === old && !isWhole) damage(world, folder);
      const journal = journalIn(world, folder);
      const began = seam.now();
      const next = await Server.start(world, { folder, withoutJournal: true });
      const { lost, identity } = next.taken;
      const goesOn = identity.journal === journal;
      if (isWhole && hasCommitted && !goesOn) {
        throw new BrokenPromise("a journal that is there, and whole, was given up");
      }
      // It may not have been attached at all.
      const isTrue = lost === undefined
        ? !hasCommitted || goesOn
        : !goesOn && lost.time <= began && lost.bytes <= history.blocksAhead * habits.blockSize &&
          lost.host === "simulation";
      if (!isTrue) {
        throw new BrokenPromise(
          `it says that ${JSON.stringify(lost)} is lost, of ${history.blocksAhead} blocks`,
        );
      }
      history.check(next.contents(), isWhole && goesOn ? ending : "store", lost?.time);
      if (dice.draw(2) === 0) {
        for (let act = dice.draw(100); act > 0; act--) await next.act();
        await next.finish();
      }
      world.end("killed");
      if (folder !== old) await refuse(world, old, true);
      const again = await Server.start(world, { folder });
      history.check(again.contents(), "killed");
      world.end("killed");
    }
  });
}

/** The UUID of the journal in a folder; undefined if nobody can tell. */
function journalIn({ machine }: World, folder: string): string | undefined {
  try {
    return readIdentity(new CrashableProcess(machine), folder)?.journal;
  } catch (error) {
    if (!isUblkError(error)) throw error;
    return undefined;
  }
}

/** Whoever gives up a journal can do so whatever state it is in. */
function damage({ dice, machine }: World, folder: string): void {
  const names = ["journal-id", "journal-0000", "journal-0001"];
  const file = machine.names.find(`${folder}/${names[dice.draw(names.length)]}`);
  if (!(file instanceof Contents)) return;
  file.write(new Uint8Array(Math.min(file.bytes, 64)).fill(dice.draw(256)), 0);
  file.sync();
}

/** Attaches with a journal that does not continue the volume. */
async function refuse(world: World, folder: string, isAttached: boolean): Promise<void> {
  try {
    await Server.start(world, { folder });
  } catch (error) {
    if (!isUblkError(error) || error.code !== "VOLUME_JOURNAL") throw error;
    world.end("killed");
    return;
  }
  if (isAttached) throw new BrokenPromise(`the journal in ${folder} is taken`);
  world.end("killed");
}

/**
 * Another server takes the volume while one lives: the first learns of it at its next commit at the
 * latest, and changes nothing any more.
 */
export async function twoWriters(seed: number): Promise<void> {
  await simulate(seed, async (world) => {
    const { dice } = world;
    world.leaseMs = dice.draw(2) * LEASE_MS;
    let folder = JOURNAL;
    for (let round = 0; round < 3; round++) {
      let mayBeFenced = false;
      const first = await Server.start(world, {
        folder,
        mayFailCommit: (error) => mayBeFenced && isFenced(error),
      });
      for (let act = 50 + dice.draw(150); act > 0; act--) await first.act();
      mayBeFenced = true;
      const second = await race(world, first, other(folder));
      if (second !== undefined) {
        folder = other(folder);
        second.history = first.history.fork();
        second.history.check(second.contents(), "store");
        await serveBoth(world, first, second);
        world.history = second.history;
      } else if (first.isFenced) {
        throw new BrokenPromise("both have lost the volume");
      }
      const ending = dice.draw(2) === 0 ? "power" : "killed";
      world.end(ending);
      const next = await Server.start(world, { folder });
      world.history.check(next.contents(), ending);
      world.end("killed");
    }
  });
}

/**
 * Attaches the volume while another server has it, which may be stopped meanwhile, and goes on later.
 *
 * @returns Undefined if that one was faster, or has renewed its lease.
 */
async function race(world: World, first: Server, folder: string): Promise<Server | undefined> {
  const { dice, leaseMs } = world;
  let outcome: { server?: Server; error?: unknown } | undefined;
  const force = leaseMs > 0 && dice.draw(3) === 0;
  const isStopped = dice.draw(2) === 0;
  const pause = (ms: number) => world.wait(ms);
  Server.start(world, { folder, withoutJournal: true, pauses: true, force, pause }).then(
    (server) => outcome = { server },
    (error) => outcome = { error },
  );
  for (;;) {
    await settle();
    if (outcome !== undefined) break;
    if (leaseMs > 0 && dice.draw(8) === 0) world.pass(dice.draw(leaseMs / 4));
    if (dice.draw(2) === 0) world.resume();
    else if (!isStopped) await first.act();
  }
  if (outcome.server !== undefined) {
    first.hasLost = leaseMs > 0 && !force;
    return outcome.server;
  }
  const isHeld = leaseMs > 0 && !force && isUblkError(outcome.error) &&
    outcome.error.code === "VOLUME_BUSY";
  if (!isHeld && !isFenced(outcome.error)) throw outcome.error;
}

async function serveBoth(world: World, first: Server, second: Server): Promise<void> {
  const { dice } = world;
  for (let act = 100 + dice.draw(200); act > 0; act--) {
    await (dice.draw(2) === 0 ? first : second).act();
  }
  for (let turn = 0; !first.isFenced; turn++) {
    if (turn === 1000) throw new BrokenPromise("a server goes on that has lost the volume");
    if (first.host.hasRoom) first.request();
    await first.turn();
  }
  // Its further work changes nothing for the other one.
  for (let act = 50; act > 0; act--) await first.act();
  await second.finish();
}

function isFenced(error: unknown): boolean {
  return isUblkError(error) && error.code === "VOLUME_FENCED";
}

function other(folder: string): string {
  return folder === JOURNAL ? OTHER_JOURNAL : JOURNAL;
}
