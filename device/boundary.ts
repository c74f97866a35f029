/**
 * The boundary where errors leave the library. Each one is a {@linkcode UblkError}.
 *
 * @module
 */

import { asDenied } from "../uapi/denied.ts";
import { thrownText, UblkError } from "../uapi/error.ts";
import { logLine } from "./log.ts";

/** Converts any thrown value to a {@linkcode UblkError} and keeps the value as its cause. */
export function asUblkError(thrown: unknown, operation: string, device?: number): UblkError {
  if (thrown instanceof UblkError) return thrown;
  const given = { operation, cause: thrown, ...(device === undefined ? {} : { device }) };
  const denied = asDenied(thrown, given);
  if (denied !== undefined) return denied;
  // The stack helps developers; users see one line.
  if (thrown instanceof Error) logLine(LOG_DEBUG, thrown.stack ?? "");
  return new UblkError("UNEXPECTED", {
    ...given,
    reason: thrownText(thrown).split("\n")[0],
    hint: "if it comes again, please report it, with the log at its most detailed",
  });
}

const LOG_DEBUG = 10;

/** Runs a step and converts whatever it throws to a {@linkcode UblkError}. */
export async function within<T>(operation: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (thrown) {
    throw asUblkError(thrown, operation);
  }
}
