/**
 * A device's options with every default filled in, and checked.
 *
 * @module
 */

import { hasAdminRights } from "../uring/rights.ts";
import { checkSettings, invalid } from "./checks.ts";
import {
  DEFAULT_DEADLINE_MS,
  DEFAULT_MAX_IO_BYTES,
  type DeviceOptions,
  type Settings,
  UNPRIVILEGED_DEADLINE_MS,
} from "./options.ts";

/**
 * Fills in the defaults, and checks all that can be checked without a kernel.
 *
 * @param isAdmin Whether this process makes privileged devices.
 * @throws {UblkError} `INVALID_ARGUMENT`.
 */
export function settingsOf(
  options: DeviceOptions,
  isAdmin: () => boolean = hasAdminRights,
): Settings {
  const { signal: _, signals: _s, ...given } = options;
  const admin = isAdmin();
  const unprivileged = options.unprivileged ?? !admin;
  const settings = {
    ...given,
    queues: options.queues ?? 1,
    depth: options.depth ?? 128,
    maxIoBytes: options.maxIoBytes ?? DEFAULT_MAX_IO_BYTES,
    readOnly: options.readOnly === true,
    batch: options.batch === true,
    perIoDaemons: options.perIoDaemons === true,
    fixedFile: options.fixedFile !== false,
    unprivileged,
    noPartitionScan: options.noPartitionScan === true,
    deadlineMs: options.deadlineMs ??
      (unprivileged ? UNPRIVILEGED_DEADLINE_MS : DEFAULT_DEADLINE_MS),
    paranoid: options.paranoid === true,
    logLevel: options.logLevel ?? 20,
  };
  checkSettings(settings);
  if (unprivileged) checkUnprivileged(settings, admin);
  return settings;
}

function checkUnprivileged({ deadlineMs }: Settings, admin: boolean): void {
  if (admin) {
    throw invalid(
      "root cannot have an unprivileged device: the driver makes a privileged one",
      "run it as the user whose device it is to be, or leave unprivileged out",
    );
  }
  if (deadlineMs > UNPRIVILEGED_DEADLINE_MS) {
    throw invalid(
      `deadlineMs ${deadlineMs} is too long for an unprivileged device`,
      `use up to ${UNPRIVILEGED_DEADLINE_MS}: its server is killed over a request that takes 30 s`,
    );
  }
}
