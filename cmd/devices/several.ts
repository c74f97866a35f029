/**
 * What a command does with each of several devices.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { type ErrorLog, EXIT_FAILURE, EXIT_OK } from "../program/run.ts";

/**
 * Does something with each device. Of several, one that it cannot be done with does not hold up the
 * others.
 *
 * @returns The exit status.
 * @throws {UblkError} What it throws for the only one.
 */
export async function withEach(
  ids: readonly number[],
  log: ErrorLog,
  run: (id: number) => Promise<void>,
): Promise<number> {
  const each = [...new Set(ids)];
  let status = EXIT_OK;
  for (const id of each) {
    try {
      await run(id);
    } catch (error) {
      if (each.length === 1 || !(error instanceof UblkError)) throw error;
      log.error(error.message);
      status = EXIT_FAILURE;
    }
  }
  return status;
}
