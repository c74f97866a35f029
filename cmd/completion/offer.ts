/**
 * The words that a completion can offer.
 *
 * @module
 */

import type { Option } from "../../disk/option.ts";

/** A word, and what it means. */
export interface Word {
  /** As it is typed. */
  readonly text: string;
  /** In a few words, or nothing. */
  readonly help: string;
}

/** What can stand there. */
export interface Answer {
  /** Whole words that begin as the one at the cursor does. */
  readonly words: readonly Word[];
  /** Files too. */
  readonly files: boolean;
  /** The word goes on. */
  readonly noSpace: boolean;
}

/** The numbers of the devices that there are. */
export type Devices = () => Promise<readonly number[]>;

/** Suggestions, whatever the word at the cursor begins with. */
export interface Offer {
  readonly words?: readonly Word[];
  readonly files?: boolean;
  readonly noSpace?: boolean;
}

/** The first sentence of a help text, or what stands before its first semicolon. */
export function beginning(help: Option["help"]): string {
  return /^.*?(?=\.?$|\. |;)/.exec(help.replaceAll(/\s+/g, " "))![0];
}
