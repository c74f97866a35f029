/**
 * Measures what encryption costs a volume's engine: the same loads over the same journal, encrypted and
 * not, in turns.
 *
 * @module
 */

import { VolumeKey } from "../volume/seal/volume_key.ts";
import { formatSpread, formatTable, pairwiseRatios, spread } from "./table.ts";
import { casesOf, ours, type Sample, type VolumePlan } from "./volume.ts";

/** A third of the throughput is what encryption may cost. */
const GOAL = "≥ 0.67 × rate";

/** Measures, and makes the table. The folder has the journal of `volumeTable`. */
export function sealedTable(plan: VolumePlan, folder: string): string {
  const key = VolumeKey.random();
  const rows = casesOf(plan).map(({ name, ours: loads }) => {
    const [sealed, plain]: Sample[][] = [[], []];
    ours(folder, plan, loads, key);
    for (let round = 0; round < plan.rounds; round++) {
      sealed.push(ours(folder, plan, loads, key));
      plain.push(ours(folder, plan, loads));
    }
    const cpuUs = (samples: readonly Sample[]) =>
      formatSpread(spread(samples.map((sample) => sample.cpuUs)));
    const rates = [sealed, plain].map((samples) => samples.map(({ rate }) => rate));
    return [
      ...[name, GOAL, formatSpread(spread(pairwiseRatios(rates[0], rates[1])))],
      ...[cpuUs(sealed), cpuUs(plain)],
    ];
  });
  return formatTable(["encrypted against plain", "goal", "rate", "µs each", "µs, plain"], rows);
}
