/**
 * The console of modules that this process's threads load: it prints, as in any Deno program, or
 * goes to the log, as in the commands.
 *
 * @module
 */

import { type ConsoleSink, redirectConsole } from "../queue/console.ts";

let taken = false;

/** Redirects the console of every thread to the log from now on. */
export function takeConsoles(sink: ConsoleSink): void {
  taken = true;
  redirectConsole(sink);
}

/** Whether a new thread must redirect its console. */
export function takesConsoles(): boolean {
  return taken;
}
