/**
 * Two processes want one volume in Ceph, again and again. One of them is stopped at any moment, and
 * wakes up late: there is one writer, no stored write is lost, no FLUSH is answered too late, and
 * who has lost the volume says so in one line.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { Dice } from "../../uapi/dice.ts";
import type { Ceph } from "../../vm/ceph.ts";
import { checkVolume } from "../../volume/check.ts";
import { collectVolume } from "../../volume/space/collect_volume.ts";
import { Volume } from "../../volume/volume.ts";
import { Scratch } from "../scratch.ts";
import { eachSeed, type SeededTest, seedsOf } from "../seeds.ts";
import { Party } from "../volumes/racer.ts";
import { Bucket, KEYS_IN_ENVIRONMENT } from "./_bucket.ts";

const RACES = 100;
const BLOCK = 4096;
/** Blocks of each race: one for each party. */
const BLOCKS = 2;
const LEASE_SECONDS = 1;
const FENCED = "VOLUME_FENCED";
/** The line of a server that has lost its volume. */
const FENCED_LINE = /^volume v in s3:\S+: .* \(epoch \d+\); this server has stopped; its journal/;

/** A race. */
interface Race {
  /** Its number, from 0. */
  readonly race: number;
  readonly dice: Dice;
  readonly parties: readonly [Party, Party];
  /** The contents of each block of which that is known, in bytes that fill it. */
  readonly known: Map<number, number>;
}

/** A party has the volume, and is stopped while it writes; the other one takes it meanwhile. */
async function stalledWriter({ race, dice, parties: [first, second], known }: Race) {
  const [own, others] = [race * BLOCKS, race * BLOCKS + 1];
  assertEquals(await first.order("take", race), "ok");
  assertEquals(await first.store(race, own, 1), "ok");
  const late = first.store(race, own, 2);
  await pause(dice.draw(60));
  first.signal("SIGSTOP");
  assertEquals(await second.order("take", race), "ok");
  const seen = await second.order("read", race, own);
  assert(seen === "1" || seen === "2", `${seen} is read`);
  assertEquals(await second.store(race, others, 3), "ok");
  first.signal("SIGCONT");
  const outcome = await late;
  assert(outcome === FENCED || outcome === "ok" && seen === "2", `${outcome}, and ${seen} is read`);
  await isFenced(first, race, own);
  assertEquals(await second.order("read", race, own), seen);
  assertEquals(await second.store(race, others, 4), "ok");
  known.set(own, Number(seen)).set(others, 4);
}

/** Both take it at the same time, and one of them is stopped on its way. */
async function stalledTaker({ race, dice, parties, known }: Race) {
  const taken = parties.map((party) => party.order("take", race));
  await pause(dice.draw(60));
  parties[0].signal("SIGSTOP");
  await taken[1];
  parties[0].signal("SIGCONT");
  const opened = await Promise.all(taken);
  const wrote = await Promise.all(parties.map((party, nth) =>
    // Whoever came too late has nothing to write to.
    opened[nth] === "ok" ? party.store(race, race * BLOCKS + nth, 5) : opened[nth]
  ));
  assertEquals(wrote.toSorted(), [FENCED, "ok"], `${opened}, ${wrote}`);
  const loser = wrote.indexOf(FENCED);
  if (opened[loser] === "ok") await isFenced(parties[loser], race, race * BLOCKS + loser);
  wrote.forEach((outcome, nth) => known.set(race * BLOCKS + nth, outcome === "ok" ? 5 : 0));
}

/** A party is stopped for longer than its lease, and woken with FLUSHes to answer. */
async function outlivedLease({ race, parties: [first, second], known }: Race) {
  const [own, others] = [race * BLOCKS, race * BLOCKS + 1];
  assertEquals(await first.order("take", race), "ok");
  assertEquals(await first.store(race, own, 6), "ok");
  first.signal("SIGSTOP");
  const late = [first.order("write", race, own, 7), first.order("flush", race)];
  const began = performance.now();
  assertEquals(await second.order("open", race), "ok");
  const waitedMs = performance.now() - began;
  assert(waitedMs >= LEASE_SECONDS * 1000, `it has waited for ${waitedMs} ms`);
  assertEquals(await second.store(race, others, 8), "ok");
  first.signal("SIGCONT");
  const [, flushed] = await Promise.all(late);
  assertEquals(flushed, FENCED);
  await isFenced(first, race, own);
  known.set(own, 6).set(others, 8);
}

const KINDS = [stalledWriter, stalledTaker, outlivedLease];

/** The party has lost the volume, and has said so once. */
async function isFenced(party: Party, race: number, block: number): Promise<void> {
  assertEquals(await party.store(race, block, 9), FENCED);
  const told = party.told.get(race) ?? [];
  assertEquals(told.length, 1, told.join("\n"));
  assertMatch(told[0], FENCED_LINE);
}

/** Runs the races. @param t Names the test that replays one. */
export async function races(t: SeededTest, ceph: Ceph): Promise<void> {
  const bucket = await Bucket.make(ceph, "races");
  await using store = bucket.store();
  using scratch = Scratch.inMemory();
  const last = seedsOf(RACES).at(-1)!;
  await Volume.create("v", { store, size: BLOCK * BLOCKS * (last + 1) });
  const known = new Map<number, number>();
  {
    const options = { store: bucket.url(), journals: scratch.path, leaseSeconds: LEASE_SECONDS };
    await using one = new Party({ ...options, party: "one" }, KEYS_IN_ENVIRONMENT);
    await using two = new Party({ ...options, party: "two" }, KEYS_IN_ENVIRONMENT);
    await eachSeed(t, RACES, async (race) => {
      const dice = new Dice(race);
      const parties = dice.draw(2) === 0 ? [one, two] as const : [two, one] as const;
      await KINDS[race % KINDS.length]({ race, dice, parties, known });
      // Some leave it in order; the others are taken from in the next race.
      if (dice.draw(2) === 0) {
        await Promise.all(parties.map((party) => party.order("close", race)));
      }
    });
  }
  {
    const options = { store, journal: `${scratch.path}/last`, journalSize: "16M" };
    await using volume = await Volume.open("v", { ...options, withoutJournal: true, force: true });
    const found = new Uint8Array(BLOCK);
    for (const [block, value] of known) {
      await volume.read(found, block * BLOCK);
      assertEquals(found, new Uint8Array(BLOCK).fill(value), `block ${block}`);
    }
  }
  await collectVolume(store, "v");
  const { findings, unnamed } = await checkVolume(store, "v");
  assertEquals([findings, unnamed], [[], 0], "what fenced writers left is gone");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
