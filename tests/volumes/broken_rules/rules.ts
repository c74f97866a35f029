/**
 * All rules that can be broken on purpose.
 *
 * Not here is what is protected twice, and stays green: the next record of a journal has both the right
 * chain and an epoch, a compressed piece has a sum and so has each of its blocks, and what the head names
 * is newer than the base of a collection, or needed by that too.
 *
 * @module
 */

import { COMMIT_RULES } from "./commit_rules.ts";
import { GARBAGE_RULES } from "./garbage_rules.ts";
import { JOURNAL_RULES } from "./journal_rules.ts";
import { READ_RULES } from "./read_rules.ts";
import type { BrokenRule } from "./rule.ts";

/** The list. */
export const BROKEN_RULES: readonly BrokenRule[] = [
  ...JOURNAL_RULES,
  ...COMMIT_RULES,
  ...READ_RULES,
  ...GARBAGE_RULES,
];
