/**
 * `deno task ebs-cuts`: 50 rounds of cut networks, half of them with a store that is cut off too.
 *
 * @module
 */

import { ensurePackages } from "../host.ts";
import { type CutOutcome, cutRounds } from "./cuts.ts";

const ROUNDS = 50;

const [rounds = `${ROUNDS}`, seed = "1"] = Deno.args;
await ensurePackages(new Set(["integration"]));
const half = Math.ceil(Number(rounds) / 2);
const outcomes: CutOutcome[] = [];
for (const store of ["bucket", "folder"] as const) {
  console.log(`── the store is a ${store}`);
  outcomes.push(await cutRounds(half, store, console.log, Number(seed)));
}
const faults = outcomes.flatMap((one) => one.faults);
for (const fault of faults) console.log(`FAULT: ${fault}`);
const sum = (of: (outcome: CutOutcome) => number) =>
  outcomes.reduce((total, outcome) => total + of(outcome), 0);
console.log(
  `${sum((one) => one.rounds)} rounds: opened ${sum((one) => one.opened)} times, ` +
    `${sum((one) => one.synced)} writes stored, ${sum((one) => one.lost)} claims lost, ` +
    `${faults.length} faults`,
);
Deno.exit(faults.length === 0 ? 0 : 1);
