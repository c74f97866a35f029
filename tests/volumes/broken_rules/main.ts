/**
 * `deno task broken-rules`: breaks the rules of the volume engine one by one, in a copy of this checkout,
 * and shows that the simulations of `volume/crash_test.ts` notice. `--only WORDS` tries the rules with
 * these words in their names.
 *
 * One line for each. It exits with 1 if any stays green, or the list does not fit the source, and with
 * 130 when interrupted.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { stopAll } from "../../exec.ts";
import { Checkout } from "./checkout.ts";
import { type BrokenRule, StaleRule } from "./rule.ts";
import { BROKEN_RULES } from "./rules.ts";
import { tryRule } from "./try_rule.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
const USAGE = "use --only WORDS, with words of a rule's name; without it all are tried";

/** The rules that the command line chooses; none if it is wrong. */
function chosen(args: readonly string[]): readonly BrokenRule[] {
  const { only = "", _: rest, ...others } = parseArgs([...args], { string: ["only"] });
  if (rest.length > 0 || Object.keys(others).length > 0) return [];
  return BROKEN_RULES.filter(({ name }) => name.includes(only));
}

let interrupted = false;

async function main(): Promise<number> {
  const rules = chosen(Deno.args);
  if (rules.length === 0) {
    console.error(USAGE);
    return 1;
  }
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, () => {
      interrupted = true;
      stopAll();
    });
  }
  using checkout = new Checkout(ROOT);
  // Before the first is tried: all of them take minutes.
  for (const rule of rules) {
    checkout.change(rule, rule.name);
    checkout.restore(rule);
  }
  let wrong = 0;
  for (const rule of rules) {
    for await (const { isRight, line } of tryRule(checkout, rule)) {
      if (interrupted) return 130;
      console.log(line);
      if (!isRight) wrong++;
    }
  }
  return wrong === 0 ? 0 : 1;
}

try {
  Deno.exit(await main());
} catch (error) {
  if (!(error instanceof StaleRule) && !interrupted) throw error;
  if (error instanceof StaleRule) console.error(error.message);
  Deno.exit(interrupted ? 130 : 1);
}
