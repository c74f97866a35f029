/**
 * Applying a command to several devices.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { type ErrorLog, EXIT_FAILURE, EXIT_OK } from "../program/run.ts";

/**
 * Runs an action for each device. With several devices, a failure for one does not affect the
 * others.
 *
 * @returns The exit status.
 * @throws {UblkError} With one device only, the error of its action.
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
