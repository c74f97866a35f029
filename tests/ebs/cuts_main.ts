/**
 * `deno task ebs-cuts`: 50 rounds of cut networks, with stores that are cut off too and such that are not,
 * and with flushes into the journal and into the store. With `--service`, the nodes are `ublk-ebs serve`.
 *
 * @module
 */

import { ensurePackages } from "../host.ts";
import type { CutKind } from "./cut_ground.ts";
import { type CutOutcome, cutRounds } from "./cuts.ts";

const ROUNDS = 50;

await ensurePackages(new Set(["integration"]));
const isService = Deno.args.includes("--service");
const [rounds = `${ROUNDS}`, seed = "1"] = Deno.args.filter((word) => word !== "--service");
const kinds: readonly CutKind[] = [
  { store: "bucket", durability: "local" },
  { store: "bucket", durability: "store" },
  { store: "folder", durability: "local" },
  { store: "folder", durability: "store" },
];
const outcomes: CutOutcome[] = [];
for (const [nth, kind] of kinds.entries()) {
  const share = Math.floor((Number(rounds) + nth) / kinds.length);
  console.log(`── a ${kind.store}, durability ${kind.durability}: ${share} rounds`);
  outcomes.push(await cutRounds(share, { ...kind, isService }, console.log, Number(seed) + nth));
}
const faults = outcomes.flatMap((one) => one.faults);
for (const fault of faults) console.log(`FAULT: ${fault}`);
const sum = (of: (outcome: CutOutcome) => number) =>
  outcomes.reduce((total, outcome) => total + of(outcome), 0);
console.log(
  `${sum((one) => one.rounds)} rounds: opened ${sum((one) => one.opened)} times, ` +
    `${sum((one) => one.synced)} writes stored, ${sum((one) => one.lost)} claims lost, ` +
    `${sum((one) => one.taken)} opened by the other node during the cut, ` +
    `${faults.length} faults`,
);
Deno.exit(faults.length === 0 ? 0 : 1);
