/**
 * The part of the benchmarks that needs ublk, and so runs inside a guest. The plan is an argument; each
 * record is printed as a line. Messages for people go to stderr.
 *
 * @module
 */

import { CLIENT } from "./fio.ts";
import { countCollections } from "./garbage.ts";
import type { ConditionsRecord, GuestPlan, GuestRecord } from "./plan.ts";
import { run } from "./process.ts";
import { compare } from "./speed.ts";
import { measureStarts } from "./startup.ts";

/** The prefix of a line that holds a record. */
export const RECORD_MARK = "@bench ";

/** Carries out a plan on this machine, which must have ublk. */
export async function runPlan(
  plan: GuestPlan,
  emit: (record: GuestRecord) => void,
): Promise<void> {
  emit(await conditions());
  if (plan.startRounds > 0) await measureStarts(plan.startDepths, plan.startRounds, emit);
  for (const nth of plan.groups.keys()) await compare(nth, plan, emit);
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
