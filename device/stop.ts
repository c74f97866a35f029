/**
 * STOP_DEV, waited for as long as requests are being answered.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { letGo, startShell } from "./child.ts";
import { ignoreMissing } from "./delete.ts";
import { logLine } from "./log.ts";
import { diskUsers, usersText, withoutServer } from "./users.ts";

/** The longest time without an answered request while the kernel stops a device, in ms. */
const SILENT_MS = 60_000;
const LOOK_MS = 1_000;

/**
 * Stops a device. The kernel writes dirty data first, which takes as long as the backend needs. So
 * the limit applies to the time without progress.
 *
 * @param progress A number that changes whenever a request is answered.
 * @throws {UblkError} `CONTROL_TIMEOUT` after a minute without progress, `ABORTED` by the signal.
 */
export async function stopDevice(
  control: Control,
  id: number,
  progress: () => number,
  signal?: AbortSignal,
): Promise<void> {
  using silence = new Silence(progress);
  try {
    const signals = signal === undefined ? [silence.signal] : [silence.signal, signal];
    const options = { timeoutMs: Number.MAX_SAFE_INTEGER, signal: AbortSignal.any(signals) };
    await ignoreMissing(control.stopDev(id, options));
  } catch (error) {
    if (!silence.signal.aborted) throw error;
    throw new UblkError("CONTROL_TIMEOUT", {
      operation: "STOP_DEV",
      device: id,
      reason: `no request was answered for ${SILENT_MS / 1000} s`,
      hint: "end the server, and the requests that it holds fail",
      cause: error,
    });
  }
}

/**
 * Stops a device that nobody uses.
 *
 * @throws {UblkError} `DEVICE_BUSY`, naming its users.
 */
export async function tryStopDevice(
  control: Control,
  id: number,
  signal?: AbortSignal,
): Promise<void> {
  try {
    await control.tryStopDev(id, { signal });
  } catch (error) {
    if (!(error instanceof UblkError) || error.code !== "DEVICE_BUSY") throw error;
    const { operation, device, errno, hint } = error;
    const users = withoutServer(await diskUsers(id).catch(() => []));
    if (users.length === 0) throw error;
    const reason = `somebody has the disk open: it is ${usersText(users)}`;
    throw new UblkError("DEVICE_BUSY", { operation, device, errno, hint, reason, cause: error });
  }
}

/**
 * Writes dirty data before STOP_DEV. For a device with recovery, the driver fails all requests
 * before it removes the disk (`ublk_stop_dev_unlocked`), including the writeback of dirty data.
 *
 * Dirty data may belong to the disk, its partitions and the filesystems on either, so this syncs
 * everything. A child process does it, because a server must never wait for its own disk. If the
 * sync makes no progress it is abandoned: the caller wants the device to stop.
 */
export async function syncDisks(progress: () => number, signal: AbortSignal): Promise<void> {
  using silence = new Silence(progress);
  const child = startShell("exec sync", [], "null");
  const { promise: gaveUp, resolve: giveUp } = Promise.withResolvers<void>();
  const either = AbortSignal.any([silence.signal, signal]);
  either.addEventListener("abort", () => giveUp(), { once: true });
  if (either.aborted) giveUp();
  const success = await Promise.race([child.status.then((status) => status.success), gaveUp]);
  if (success) return;
  logLine(30, "sync did not succeed before the device stops: what is not written yet is lost");
  // A child blocked in the kernel ignores signals, and must not keep this process alive.
  letGo(child);
}

/** Fires once nothing has been answered for a minute. */
class Silence implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(progress: () => number) {
    let last = progress();
    let idleMs = 0;
    this.#timer = setInterval(() => {
      const now = progress();
      idleMs = now === last ? idleMs + LOOK_MS : 0;
      last = now;
      if (idleMs >= SILENT_MS) this.#controller.abort();
    }, LOOK_MS);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
