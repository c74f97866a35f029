/**
 * Whether modules that this process's threads load print by themselves, as in any program of Deno,
 * or into the log, as in the commands.
 *
 * @module
 */

import { type ConsoleSink, redirectConsole } from "../queue/console.ts";

let taken = false;

/** From now on what modules say on their console is part of the log, in every thread. */
export function takeConsoles(sink: ConsoleSink): void {
  taken = true;
  redirectConsole(sink);
}

/** Whether a thread that is started is to redirect its console. */
export function takesConsoles(): boolean {
  return taken;
}
