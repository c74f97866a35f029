/**
 * STOP_DEV, for as long as it gets anywhere.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { ignoreMissing } from "./delete.ts";

/** How long nothing may be answered while the kernel stops a device, in milliseconds. */
const SILENT_MS = 60_000;
const LOOK_MS = 1_000;

/**
 * Stops a device. The kernel writes what is dirty first, which takes as long as the backend takes:
 * so what is bounded is the time without any progress.
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
  const silence = new AbortController();
  let last = progress();
  let idleMs = 0;
  const timer = setInterval(() => {
    const now = progress();
    idleMs = now === last ? idleMs + LOOK_MS : 0;
    last = now;
    if (idleMs >= SILENT_MS) silence.abort();
  }, LOOK_MS);
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
  } finally {
    clearInterval(timer);
  }
}
