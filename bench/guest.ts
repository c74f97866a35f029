/**
 * The part of the benchmarks that needs ublk, so it runs inside a guest. It takes its plan as an
 * argument and prints each record as a line; what a person should see goes to stderr.
 *
 * @module
 */

import { CLIENT } from "./fio.ts";
import { countCollections } from "./garbage.ts";
import type { ConditionsRecord, GuestPlan, GuestRecord } from "./plan.ts";
import { run } from "./process.ts";
import { compare } from "./speed.ts";
import { measureStarts } from "./startup.ts";

/** What a line of a record begins with. */
export const RECORD_MARK = "@bench ";

/** Carries out a plan on this machine, which must have ublk. */
export async function runPlan(
  plan: GuestPlan,
  emit: (record: GuestRecord) => void,
): Promise<void> {
  emit(await conditions());
  if (plan.startRounds > 0) await measureStarts(plan.startDepths, plan.startRounds, emit);
  for (const group of plan.groups) await compare(group, plan, emit);
  for (const disk of plan.gcDisks) emit(await countCollections(disk, plan.gcCells, plan.gcIos));
}

async function conditions(): Promise<ConditionsRecord> {
  const fioVersion = (await run("fio", ["--version"])).trim();
  const clock = (await Deno.readTextFile(
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
  )).trim();
  return {
    type: "conditions",
    lines: [
      `Linux ${Deno.osRelease()}, ${navigator.hardwareConcurrency} CPUs, clock ${clock}`,
      `client: ${CLIENT} (${fioVersion})`,
    ],
  };
}

if (import.meta.main) {
  const plan: GuestPlan = JSON.parse(Deno.args[0]);
  await runPlan(plan, (record) => console.log(RECORD_MARK + JSON.stringify(record)));
}
