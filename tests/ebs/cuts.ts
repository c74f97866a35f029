/**
 * Two nodes that want one volume, with a real NATS server between them, and the network of one of them
 * cut: in every phase of what a node does, in both directions and in each alone, for less and for more than
 * a claim's life.
 *
 * @module
 */

import { Scratch } from "../scratch.ts";
import { Dice } from "../../uapi/dice.ts";
import { type NodeEvent, PHASES } from "./cut_events.ts";
import type { CutGround, CutKind } from "./cut_ground.ts";
import { judge } from "./cut_judge.ts";
import { startNodes } from "./cut_nodes.ts";
import { Program } from "./cut_program.ts";
import { startServices } from "./cut_services.ts";
import { Told } from "./cut_told.ts";
import { type Cut, CUTS, Namespaces, type NodeName } from "./namespaces.ts";
import { NatsServer } from "./nats_server.ts";

/** A claim's life. */
const TTL_MS = 2000;
/**
 * A cut that outlives the lease of a bucket, which `ublk-ebs` takes as it comes (45 s): the other node
 * takes the volume without the journal of the one that is cut off. Rounds that are long, of how many.
 */
const LONG_MS = 65_000;
const [LONG_NTH, LONG_OF] = [2, 4];
/** The server drops a node long before that: force takes nothing from one that may be there. */
const PING_SECONDS = 5;
const NATS_PORT = 4222;
const STORE_PORT = 9000;

/** What came of some rounds. */
export interface CutOutcome {
  readonly rounds: number;
  /** What was wrong. */
  readonly faults: readonly string[];
  /** How often the volume was opened, and writes to it were stored. */
  readonly opened: number;
  readonly synced: number;
  /** Claims that were lost. */
  readonly lost: number;
  /** Rounds in which the other node opened the volume while the network was cut. */
  readonly taken: number;
}

/** Cuts the network for some rounds. @param tell Takes a line for each round. */
export async function cutRounds(
  rounds: number,
  kind: CutKind,
  tell: (line: string) => void,
  seed = 1,
): Promise<CutOutcome> {
  using scratch = new Scratch();
  using namespaces = new Namespaces();
  await using _nats = await NatsServer.start({
    ...{ host: "0.0.0.0", port: NATS_PORT, within: namespaces.within("shared") },
    pingSeconds: PING_SECONDS,
  });
  await using bucket = await Program.start(namespaces.within("shared"), "cut_store.ts", [
    ...[`${STORE_PORT}`],
  ]);
  await bucket.line();
  const told = new Told();
  const { path } = scratch;
  const ground: CutGround = {
    ...{ kind, namespaces, folder: path, ttlMs: TTL_MS, told },
    natsFrom: (node) => `nats://${namespaces.sharedFrom(node)}:${NATS_PORT}`,
    natsWithin: `nats://127.0.0.1:${NATS_PORT}`,
    storeFrom: (node) =>
      kind.store === "folder"
        ? `file://${path}/store`
        : `s3://bucket/p?endpoint=http://${namespaces.sharedFrom(node)}:${STORE_PORT}`,
  };
  await using players = await (kind.isService ? startServices : startNodes)(ground);
  const { events } = told;
  const dice = new Dice(seed);
  const hasLong = kind.isService === true && kind.store === "bucket";
  let taken = 0;
  for (let round = 1; round <= rounds; round++) {
    const phase = PHASES[(round + 2 * seed) % PHASES.length]!;
    const name: NodeName = dice.draw(2) === 0 ? "a" : "b";
    const how: Cut = CUTS[dice.draw(CUTS.length)]!;
    const drawnMs = Math.round(TTL_MS * (0.2 + dice.draw(300) / 100));
    const ms = hasLong && round % LONG_OF === LONG_NTH ? LONG_MS : drawnMs;
    const isIt = ({ node, event }: NodeEvent) => node === name && event === phase;
    await told.next(isIt, `round ${round}: ${name} is never ${phase}`);
    namespaces.cut(name, how);
    const [begun, cutAt] = [events.length, performance.now()];
    await pause(ms);
    const isOther = ({ node, event }: NodeEvent) => node !== name && event === "opened";
    const isTaken = events.slice(begun).some(isOther);
    if (isTaken) taken++;
    namespaces.heal(name, how);
    await told.next(({ event }) => event === "synced", `round ${round}: nobody writes any more`);
    const lost = events.slice(begun).filter(({ event }) => event === "lost").length;
    const seconds = ((performance.now() - cutAt) / 1000).toFixed(1);
    tell(
      `round ${round}: ${name} cut (${how}) while ${phase}, for ${ms} ms; ${lost} claims lost; ` +
        `${isTaken ? "opened by the other meanwhile; " : ""}written to after ${seconds} s`,
    );
  }
  await players.end();
  const count = (kind: NodeEvent["event"]) => events.filter(({ event }) => event === kind).length;
  return {
    ...{ rounds, faults: judge(events), opened: count("opened"), synced: count("synced") },
    ...{ lost: count("lost"), taken },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
