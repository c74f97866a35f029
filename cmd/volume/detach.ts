/**
 * `ublk-volume detach`.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { del } from "../devices/delete.ts";
import { isAlive, readRecords, startTicksOf, volumeOf } from "../devices/records.ts";
import { usageError, type Values } from "../line/flags.ts";
import type { DETACH_FLAGS } from "../line/volume_commands.ts";
import { type ErrorLog, EXIT_OK } from "../program/run.ts";

const LOOK_MS = 20;

/** `ublk-volume detach`: ends the disk, and waits until its server has drained everything. */
export async function detach(
  { name, id, force }: Values<typeof DETACH_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  if ((name === undefined) === (id === undefined)) {
    throw usageError("ublk-volume detach", "it needs a name or a device", "give NAME or -n ID");
  }
  const record = readRecords().find((one) =>
    name === undefined ? one.id === id : volumeOf(one) === name && isAlive(one)
  );
  if (record === undefined || volumeOf(record) === undefined) {
    throw new UblkError("DEVICE_NOT_FOUND", {
      operation: `detach ${name ?? `device ${id}`}`,
      reason: name === undefined ? "it is no volume's" : "no server here has it attached",
      hint: "`ublk list` shows the devices",
    });
  }
  const status = await del({ id: [record.id], all: false, async: false, force }, log);
  if (status !== EXIT_OK) return status;
  while (startTicksOf(record.pid) === record.startTicks) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return EXIT_OK;
}
