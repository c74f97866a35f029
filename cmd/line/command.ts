/**
 * The description of a command of `ublk`.
 *
 * @module
 */

import type { Flag, Syntax } from "./flags.ts";

/** One command. Its `name` does not include the program's. */
export interface Command extends Omit<Syntax, "flags"> {
  /** Other names. */
  readonly aliases?: readonly string[];
  /** Its flags; `add` and `recover` load theirs on demand. */
  readonly flags?: readonly Flag[];
}

/** A group of related commands. */
export interface CommandGroup {
  /** The heading in the overview. */
  readonly heading: string;
  /** The commands. */
  readonly commands: readonly Command[];
}
