/**
 * `deno task ebs-scale`: simulates platforms of some sizes, and prints the figures of `docs/ebs-scale.md`.
 *
 * @module
 */

import { type Figures, type Load, type Rate, simulate } from "./scale.ts";

/** Nodes; each has a hundred volumes. */
const SIZES = [100, 1000];
const VOLUMES_OF_A_NODE = 100;

const whole = (value: number) => Math.round(value).toLocaleString("en");
const ratio = ({ peak, mean }: Rate) => (peak / mean).toFixed(1);

type Part = (figures: Figures) => Rate;

/** The rows of a rate: its mean, what that is for 1,000 volumes, and its peak. */
const rowsOf = (name: string, part: Part): readonly Row[] => [
  [name, (figures) => whole(part(figures).mean)],
  [
    "… per 1,000 volumes",
    (figures, volumes) => (part(figures).mean / volumes * 1000).toFixed(1),
  ],
  ["… most in a second, to the mean", (figures) => ratio(part(figures))],
];

/** The rows of a load beside what happens. */
const ratiosOf = (part: (figures: Figures) => Load): readonly Row[] => [
  ["… requests to the buckets, most in a second, to the mean", (one) => ratio(part(one).buckets)],
  ["… requests to the store, likewise", (one) => ratio(part(one).store)],
];

/** A row of the table: a name, and its value for a size. */
type Row = readonly [string, (figures: Figures, volumes: number) => string];

const ROWS: readonly Row[] = [
  ["all attached after, s", ({ attachSeconds }) => whole(attachSeconds)],
  ["until then, per volume: requests to the buckets", (one) => one.perAttach.buckets.toFixed(1)],
  ["… requests to the store", (one) => one.perAttach.store.toFixed(1)],
  ["… messages to nodes", (one) => one.perAttach.messages.toFixed(1)],
  ...rowsOf("at rest: requests to the buckets, /s", ({ steady }) => steady.buckets),
  ...rowsOf("at rest: requests to the store, /s", ({ steady }) => steady.store),
  ["at rest: messages to nodes, /s", ({ steady }) => whole(steady.messages.mean)],
  ["a tenth of the nodes dies: volumes", ({ death }) => whole(death.outage.volumes)],
  ["… served again after, median, s", ({ death }) => whole(death.outage.median)],
  ["… the last, s", ({ death }) => whole(death.outage.longest)],
  ["… messages to nodes, /s", ({ death }) => whole(death.messages.mean)],
  ...ratiosOf(({ death }) => death),
  ["cut networks, slow and absent stores: claims lost", ({ cuts }) => whole(cuts.lost)],
  ["… served again after, the last, s", ({ cuts }) => whole(cuts.outage.longest)],
  ...ratiosOf(({ cuts }) => cuts),
  ...rowsOf("after all of it: requests to the buckets, /s", ({ after }) => after.buckets),
  ...rowsOf("after all of it: requests to the store, /s", ({ after }) => after.store),
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

for (const [nth, [, { refusals, death, cuts, steady }]] of columns.entries()) {
  const asked = [...refusals].map(([what, times]) => `${what} ${whole(times)}`);
  console.log(`${whole(sizes[nth]!)} nodes, refused: ${asked.join(", ")}`);
  for (const [name, load] of Object.entries({ steady, death, cuts })) {
    const rates = [load.buckets, load.store, load.messages, load.told];
    const words = rates.map(({ mean, peak }) => `${whole(mean)} (${whole(peak)})`);
    console.log(`  ${name}, buckets, store, messages, told: ${words.join(", ")}`);
  }
}

/** Most requests in a second, to the mean; longest outage, in seconds. */
const PEAK = 5;
const LONGEST_SECONDS = 300;

const faults = columns.flatMap(([volumes, { steady, death, cuts, after, ...ends }]) => [
  ...ends.violations,
  ...ends.unserved > 0 ? [`${ends.unserved} of ${volumes} volumes are served by nobody`] : [],
  ...[steady, death, cuts, after].flatMap(({ buckets, store }) => {
    const peak = Math.max(buckets.peak / buckets.mean, store.peak / store.mean);
    return peak > PEAK ? [`${volumes} volumes: ${peak} times the mean in one second`] : [];
  }),
  ...[death, cuts].flatMap(({ outage: { longest } }) =>
    longest > LONGEST_SECONDS ? [`${volumes} volumes: the last is back after ${longest} s`] : []
  ),
  // What was lost, and what was moved, must cost nothing in the end.
  ...after.buckets.mean + after.store.mean > 1.1 * (steady.buckets.mean + steady.store.mean)
    ? [`${volumes} volumes: it goes on for ever`]
    : [],
]);
const perVolume = columns.map(([volumes, { steady }]) =>
  (steady.buckets.mean + steady.store.mean) / volumes
);
if (Math.max(...perVolume) > 1.1 * Math.min(...perVolume)) {
  faults.push(`requests per volume differ: ${perVolume.join()}`);
}
for (const fault of faults) console.log(`FAULT: ${fault}`);
Deno.exit(faults.length === 0 ? 0 : 1);
