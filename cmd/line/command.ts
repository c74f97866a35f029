/**
 * The description of a command of `ublk`.
 *
 * @module
 */

import type { Flag, Syntax } from "./flags.ts";

/** One command. Its `name` is without that of the program. */
export interface Command extends Omit<Syntax, "flags"> {
  /** Other names. */
  readonly aliases?: readonly string[];
  /** Its flags; `add` and `recover` load theirs when they are wanted. */
  readonly flags?: readonly Flag[];
}

/** Commands that belong together. */
export interface CommandGroup {
  /** The heading in the overview. */
  readonly heading: string;
  /** The commands. */
  readonly commands: readonly Command[];
}
