/**
 * Breaks a rule, and sees whether simulations notice.
 *
 * @module
 */

import type { Checkout } from "./checkout.ts";
import type { BrokenRule, Simulation } from "./rule.ts";
import type { Verdict } from "./verdict.ts";

/** A thousand seeds of the slowest simulation take some minutes on an idle machine. */
const LIMIT_MS = 20 * 60_000;
/** One that is known to hang is not waited for so long. */
const HANG_MS = 2 * 60_000;

/** How a simulation has taken a broken rule. */
export interface Tried {
  /** As it should. */
  readonly isRight: boolean;
  /** One line. */
  readonly line: string;
}

/** Breaks a rule for each simulation that is to notice. @throws {StaleRule} */
export async function* tryRule(checkout: Checkout, rule: BrokenRule): AsyncGenerator<Tried> {
  for (const simulation of rule.foundBy) {
    const { isRight, words } = await tryOne(checkout, rule, simulation);
    const where = rule.foundBy.length > 1 ? ` (${simulation})` : "";
    yield { isRight, line: `${words}  ${rule.name}${where}` };
  }
}

async function tryOne(
  checkout: Checkout,
  rule: BrokenRule,
  simulation: Simulation,
): Promise<{ isRight: boolean; words: string }> {
  const verdict = await broken(checkout, rule, simulation);
  switch (verdict.is) {
    case "hang":
      return { isRight: rule.mayHang === true, words: rule.mayHang ? "red: hangs" : "HANGS" };
    case "mistake":
      return { isRight: false, words: `MISTAKE: ${verdict.words}` };
    case "green":
      return { isRight: false, words: `GREEN after ${rule.seeds} seeds` };
  }
  const { seed } = verdict;
  const whole = await checkout.run(simulation, ["--seed", `${seed}`], LIMIT_MS);
  if (whole.is === "green") return { isRight: true, words: `red after seed ${seed}` };
  const how = "words" in whole ? `${whole.is}: ${whole.words}` : whole.is;
  return { isRight: false, words: `NOT GREEN WITHOUT IT, seed ${seed} of ${simulation}: ${how}` };
}

async function broken(
  checkout: Checkout,
  rule: BrokenRule,
  simulation: Simulation,
): Promise<Verdict> {
  checkout.change(rule, rule.name);
  try {
    const limitMs = rule.mayHang === true ? HANG_MS : LIMIT_MS;
    return await checkout.run(simulation, ["--seeds", `${rule.seeds}`], limitMs);
  } finally {
    checkout.restore(rule);
  }
}
