/**
 * The names of targets and wrappers, for completions.
 *
 * @module
 */

import { WRAPPERS } from "../../backends/wrappers.ts";
import { ALL as TARGETS } from "../line/targets.ts";
import { beginning, type Offer, type Word } from "./offer.ts";

/** Offers targets, or wrappers and their options. */
export function nameOffer(flag: "type" | "wrap", typed: string): Promise<Offer> {
  if (flag === "type") return Promise.resolve({ words: named(TARGETS), files: true });
  const colon = typed.indexOf(":");
  if (colon < 0) return Promise.resolve({ words: named(WRAPPERS) });
  const wrapper = WRAPPERS.find(({ name }) => name === typed.slice(0, colon));
  const before = typed.slice(0, Math.max(colon, typed.lastIndexOf(",")) + 1);
  const words = wrapper?.options.map((option) => {
    const value = option.kind === "switch" ? "" : "=";
    return { text: `${before}${option.name}${value}`, help: beginning(option.help) };
  });
  return Promise.resolve({ words: words ?? [], noSpace: true });
}

function named(list: readonly { name: string; summary: string }[]): Word[] {
  return list.map(({ name, summary }) => ({ text: name, help: summary }));
}
