/**
 * The types of completions.
 *
 * @module
 */

import type { Option } from "../../disk/option.ts";

/** A word and its meaning. */
export interface Word {
  /** The word as typed. */
  readonly text: string;
  /** A short description; may be empty. */
  readonly help: string;
}

/** The possible words at the cursor. */
export interface Answer {
  /** Complete words that start with the one at the cursor. */
  readonly words: readonly Word[];
  /** Suggest files too. */
  readonly files: boolean;
  /** Put no space after the word, because it continues. */
  readonly noSpace: boolean;
}

/** Returns the numbers of all devices. */
export type Devices = () => Promise<readonly number[]>;

/** Suggestions that are not yet filtered by the word at the cursor. */
export interface Offer {
  readonly words?: readonly Word[];
  readonly files?: boolean;
  readonly noSpace?: boolean;
}

/** The first sentence of a help text, or its part before the first semicolon. */
export function beginning(help: Option["help"]): string {
  return /^.*?(?=\.?$|\. |;)/.exec(help.replaceAll(/\s+/g, " "))![0];
}
