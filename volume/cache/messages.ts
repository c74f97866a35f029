/**
 * The messages between an engine's thread and the one that fetches for it, before and after the
 * device lives. In between they share a board.
 *
 * @module
 */

import type { PackedError } from "../../uapi/packed_error.ts";
import type { Ancestry } from "../owners.ts";

/** The parts that the fetching thread works with. */
export interface FetchJob extends Ancestry {
  /** The URL or the folder of the store. */
  readonly store: string;
  /** The volume's name. */
  readonly name: string;
  /** The board. */
  readonly board: SharedArrayBuffer;
  /** The memory of the lines: its address and its length in bytes. */
  readonly memory: { readonly address: number; readonly bytes: number };
  /** Bytes of a line. */
  readonly line: number;
  /** The eventfd that wakes the engine. */
  readonly wakeFd: number;
}

/** From the fetching thread: it is at work, or it has ended. */
export type FromFetcher =
  | { readonly type: "ready" }
  | { readonly type: "ended"; readonly error?: PackedError };
