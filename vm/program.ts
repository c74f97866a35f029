/**
 * A program around QEMU: it hears signals, so that no guest is left behind, and says in one line
 * what went wrong.
 *
 * @module
 */

import { VmError } from "./host.ts";

/** Exit status of a program that a signal ended, as shells have it for SIGINT. */
export const EXIT_INTERRUPTED = 130;

/** Runs a program to its end and the process's. `signal` fires when it is to end early. */
export async function runProgram(
  name: string,
  main: (signal: AbortSignal) => Promise<number>,
): Promise<never> {
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => abort.abort(new VmError(`ended by ${signal}`)));
  }
  let status: number;
  try {
    status = await main(abort.signal);
  } catch (error) {
    // What the system refuses needs no stack either; anything else is a bug of this program.
    const isOperating = error instanceof VmError ||
      (error instanceof Error && error.message.includes("(os error "));
    if (!isOperating) throw error;
    console.error(`${name}: ${error.message}`);
    status = abort.signal.aborted ? EXIT_INTERRUPTED : 1;
  }
  // Signal listeners would keep the process alive.
  Deno.exit(status);
}
