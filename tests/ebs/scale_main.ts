/**
 * `deno task ebs-scale`: simulates platforms of some sizes, and prints the figures of `docs/ebs-scale.md`.
 *
 * @module
 */

import { type Figures, type Load, simulate } from "./scale.ts";

/** Nodes; each has a hundred volumes. */
const SIZES = [100, 1000];
const VOLUMES_OF_A_NODE = 100;

const whole = (value: number) => Math.round(value).toLocaleString("en");
const ratio = (load: Load) => (load.peak / load.mean).toFixed(1);
const storeRatio = (load: Load) => (load.storePeak / load.storeMean).toFixed(1);

/** The rows of the table: a name, and its value for a size. */
const ROWS: readonly (readonly [string, (figures: Figures, volumes: number) => string])[] = [
  ["all attached after, s", ({ attachSeconds }) => whole(attachSeconds)],
  ["requests to the buckets until then, per volume", (one) => one.requestsPerAttach.toFixed(1)],
  ["at rest: requests to the buckets, /s", ({ steady }) => whole(steady.mean)],
  ["… per 1,000 volumes", ({ steady }, volumes) => (steady.mean / volumes * 1000).toFixed(1)],
  ["… most in a second, to the mean", ({ steady }) => ratio(steady)],
  ["at rest: requests to the store, /s", ({ steady }) => whole(steady.storeMean)],
  ["… per 1,000 volumes", ({ steady }, volumes) => (steady.storeMean / volumes * 1000).toFixed(1)],
  ["… most in a second, to the mean", ({ steady }) => storeRatio(steady)],
  ["a tenth of the nodes dies: volumes", ({ death }) => whole(death.outage.volumes)],
  ["… served again after, median, s", ({ death }) => whole(death.outage.median)],
  ["… the last, s", ({ death }) => whole(death.outage.longest)],
  ["… requests to the buckets, most in a second, to the mean", ({ death }) => ratio(death)],
  ["… requests to the store, likewise", ({ death }) => storeRatio(death)],
  ["cut networks, slow and absent stores: claims lost", ({ cuts }) => whole(cuts.lost)],
  ["… served again after, the last, s", ({ cuts }) => whole(cuts.outage.longest)],
  ["… requests to the buckets, most in a second, to the mean", ({ cuts }) => ratio(cuts)],
  ["volumes with two that answer", ({ violations }) => whole(violations.length)],
  ["volumes that nobody serves in the end", ({ unserved }) => whole(unserved)],
];

const sizes = Deno.args.length > 0 ? Deno.args.map(Number) : SIZES;
const columns: [volumes: number, figures: Figures][] = [];
for (const nodes of sizes) {
  const volumes = nodes * VOLUMES_OF_A_NODE;
  columns.push([volumes, await simulate({ nodes, volumes, seed: 1 })]);
}
const row = (cells: readonly string[]) => console.log(`| ${cells.join(" | ")} |`);
row([
  "",
  ...columns.map(([volumes], nth) => `${whole(sizes[nth]!)} nodes, ${whole(volumes)} volumes`),
]);
row(["---", ...columns.map(() => "---:")]);
for (const [name, of] of ROWS) {
  row([name, ...columns.map(([volumes, figures]) => of(figures, volumes))]);
}

/** Most requests in a second, to the mean; longest outage, in seconds. */
const PEAK = 5;
const LONGEST_SECONDS = 300;

const faults = columns.flatMap(([volumes, { steady, death, cuts, violations, unserved }]) => [
  ...violations,
  ...unserved > 0 ? [`${unserved} of ${volumes} volumes are served by nobody`] : [],
  ...[steady, death, cuts].flatMap((load) => {
    const peak = Math.max(load.peak / load.mean, load.storePeak / load.storeMean);
    return peak > PEAK ? [`${volumes} volumes: ${peak} times the mean in one second`] : [];
  }),
  ...[death, cuts].flatMap(({ outage: { longest } }) =>
    longest > LONGEST_SECONDS ? [`${volumes} volumes: the last is back after ${longest} s`] : []
  ),
]);
const perVolume = columns.map(([volumes, { steady }]) =>
  (steady.mean + steady.storeMean) / volumes
);
if (Math.max(...perVolume) > 1.1 * Math.min(...perVolume)) {
  faults.push(`requests per volume differ: ${perVolume.join()}`);
}
for (const fault of faults) console.log(`FAULT: ${fault}`);
Deno.exit(faults.length === 0 ? 0 : 1);
