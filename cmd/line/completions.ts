/**
 * `ublk completions`: prints a script by which a shell completes the command lines of all programs.
 * What it suggests is in it, but for files and devices: a Tab starts no Deno.
 *
 * @module
 */

import { suggestions } from "./completion_model.ts";
import { bashScript } from "./completions_bash.ts";
import { fishScript } from "./completions_fish.ts";
import { zshScript } from "./completions_zsh.ts";
import { type Flag, type Syntax, usageError } from "./flags.ts";
import { writeText } from "../program/print.ts";
import { EXIT_OK } from "../program/run.ts";

/** The flags: none. */
export const COMPLETIONS_FLAGS = [] as const satisfies readonly Flag[];

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript };

/**
 * Prints the script of a shell.
 *
 * @param commands Those of `ublk`.
 * @throws {UblkError} `INVALID_ARGUMENT` where no shell is named, or one that is not known.
 */
export async function completions(
  words: readonly string[],
  commands: readonly Syntax[],
): Promise<number> {
  const [shell, ...more] = words;
  const names = Object.keys(SCRIPTS).join(", ");
  if (shell === undefined) throw usageError("ublk completions", "it needs a shell", `use ${names}`);
  if (!Object.hasOwn(SCRIPTS, shell)) {
    throw usageError(shell, "there are no completions for it", `use one of ${names}`);
  }
  if (more.length > 0) throw usageError(more[0], "unexpected argument", "name one shell");
  await writeText(SCRIPTS[shell as keyof typeof SCRIPTS](suggestions(commands)));
  return EXIT_OK;
}
