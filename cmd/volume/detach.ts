/**
 * `ublk-volume detach`.
 *
 * @module
 */

import { UblkError } from "../../uapi/error.ts";
import { del } from "../devices/delete.ts";
import {
  type DeviceRecord,
  onlyReads,
  readRecords,
  startTicksOf,
  volumeOf,
} from "../devices/records.ts";
import { volumeInfo } from "../../volume/list.ts";
import { usageError, type Values } from "../line/flags.ts";
import type { DETACH_FLAGS } from "../line/volume_commands.ts";
import { type ErrorLog, EXIT_OK } from "../program/run.ts";
import { serverOf, serversHere, storeOf } from "./attached.ts";
import { inStore } from "./in_store.ts";

const LOOK_MS = 20;

/** `ublk-volume detach`: ends the disk, and waits until its server has drained everything. */
export async function detach(
  { name, id, store, force }: Values<typeof DETACH_FLAGS>,
  log: ErrorLog,
): Promise<number> {
  if ((name === undefined) === (id === undefined)) {
    throw usageError("ublk-volume detach", "it needs a name or a device", "give NAME or -n ID");
  }
  const record = name === undefined
    ? readRecords().find((one) => one.id === id)
    : serverOf(`detach ${name}`, serversHere(name), store);
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
  if (!onlyReads(record)) await checkDrained(record);
  return EXIT_OK;
}

/** A server may end before its store has everything: it is slow or away, and the server was patient. */
async function checkDrained(record: DeviceRecord): Promise<void> {
  const name = volumeOf(record)!;
  const store = storeOf(record);
  const { attachedBy } = await inStore(store, () => volumeInfo(store, name));
  if (attachedBy === undefined) return;
  throw new UblkError("VOLUME_STORE", {
    operation: `detach ${name}`,
    reason: "its server ended before the store had everything; the journal has the rest",
    hint: "attach it again, here, once the store is there",
  });
}
