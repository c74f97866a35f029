/**
 * Adopts a device whose server is gone, up to the point where threads may fetch its tags. A device
 * that cannot be adopted is left as it was.
 *
 * @module
 */

import { Control } from "../ctrl/control.ts";
import { pathOf } from "../ctrl/data_path.ts";
import { describeParams } from "../ctrl/params.ts";
import { EBUSY } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_F_BATCH_IO } from "../uapi/features.ts";
import { UBLK_S_DEV_DEAD, UBLK_S_DEV_LIVE, type ublksrv_ctrl_dev_info } from "../uapi/ublk_cmd.ts";
import { readSmallFile } from "../uring/libc.ts";
import { pacedMs } from "../ctrl/pace.ts";
import { abortable, checkAborted } from "./abort.ts";
import type { DevicePlan } from "./begin.ts";
import { misfit } from "./fit.ts";
import type { Holdings } from "./holdings.ts";
import type { Settings } from "./settings.ts";
import { recoveryOf } from "./recovery_mode.ts";
import { MappedMemory } from "./shared_memory.ts";
import { logLine } from "./log.ts";

/** Time the kernel has to release a server that has ended, in milliseconds. */
const GONE_MS = 15_000;
/** Time a live server has: it may be about to release a quiesced device. In milliseconds. */
const ALIVE_MS = 3_000;
const POLL_MS = 20;

/**
 * Opens the backend for an existing device, and starts its recovery.
 *
 * @throws {UblkError} `DEVICE_BUSY` where its server is alive, `INVALID_ARGUMENT` where the device
 *   cannot be recovered, or not with this backend.
 */
export async function adoptDevice(
  held: Holdings,
  settings: Settings,
  allowVolatile: boolean,
  signal: AbortSignal | undefined,
): Promise<DevicePlan> {
  const { id, threads } = held;
  const control = held.control = await Control.open({ signal });
  const info = await serverless(control, id, signal);
  const disk = describeParams(await control.getParams(id, { signal }));
  if (disk === undefined) throw refused(id, "it was never started", "delete it");
  // Open it after the old server has gone, which may hold a lock on the backend's file; and before
  // START_USER_RECOVERY, because Linux 6.12 lets nobody send that twice.
  const opened = await abortable(threads!.open({ blockSize: disk.blockSize }), signal);
  for (const line of opened.warnings) logLine(30, line);
  if (settings.sharedMemory !== undefined) held.memory = MappedMemory.open(settings.sharedMemory);
  const no = misfit(disk, info.flags, opened.traits, { ...settings, allowVolatile });
  if (no !== undefined) throw refused(id, no.reason, no.hint);
  await retrying(() => control.startUserRecovery(id, { signal }), signal);
  return {
    opened,
    grant: {
      id,
      queues: info.nr_hw_queues,
      depth: info.queue_depth,
      maxIoBytes: info.max_io_buf_bytes,
      flags: info.flags,
      dataPath: pathOf(info.flags),
      reductions: [],
    },
    askedQueues: info.nr_hw_queues,
    sizeBytes: disk.sizeBytes,
    readOnly: disk.readOnly,
    batch: (info.flags & UBLK_F_BATCH_IO) !== 0,
    metadataSize: disk.metadataSize,
    recovery: recoveryOf(info.flags),
    recovered: true,
  };
}

/** Waits until the device has no server. */
async function serverless(
  control: Control,
  id: number,
  signal: AbortSignal | undefined,
): Promise<ublksrv_ctrl_dev_info> {
  const startedMs = performance.now();
  while (true) {
    const info = await control.getDevInfo(id, { signal });
    if (recoveryOf(info.flags) === undefined) {
      throw refused(
        id,
        "it was made without recovery",
        'delete it, and make it again with recovery: "queue", "reissue" or "fail"',
      );
    }
    if (info.state === UBLK_S_DEV_DEAD) {
      throw refused(id, "it is stopped, or was never started", "delete it");
    }
    if (info.state !== UBLK_S_DEV_LIVE) return info;
    const alive = isAlive(info.ublksrv_pid);
    if (performance.now() - startedMs > (alive ? ALIVE_MS : pacedMs(GONE_MS))) {
      throw busyError(id, info.ublksrv_pid, alive);
    }
    await sleep(signal);
  }
}

/** START_USER_RECOVERY fails with EBUSY while `/dev/ublkcN` is open anywhere. */
async function retrying(
  run: () => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const startMs = performance.now();
  while (true) {
    try {
      return await run();
    } catch (error) {
      const busy = error instanceof UblkError && error.errno === EBUSY;
      if (!busy || performance.now() > startMs + pacedMs(GONE_MS)) throw error;
    }
    await sleep(signal);
  }
}

async function sleep(signal: AbortSignal | undefined): Promise<void> {
  checkAborted(signal);
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  checkAborted(signal);
}

/** Whether a process runs. A zombie is still listed but holds nothing. */
function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    const text = readSmallFile(`/proc/${pid}/stat`);
    // The state follows the name in parentheses, which may itself contain parentheses.
    const state = text.slice(text.lastIndexOf(")") + 2, text.lastIndexOf(")") + 3);
    return state !== "Z" && state !== "X";
  } catch {
    return false;
  }
}

function refused(id: number, reason: string, hint: string): UblkError {
  return new UblkError("INVALID_ARGUMENT", { operation: "recover", device: id, reason, hint });
}

function busyError(id: number, pid: number, alive: boolean): UblkError {
  return new UblkError("DEVICE_BUSY", {
    operation: "recover",
    device: id,
    reason: alive
      ? `its server, process ${pid}, is alive`
      : `the kernel has not let go of its server, process ${pid}`,
    hint: alive ? `end it first, or take the device away: ublk quiesce -n ${id}` : "try again",
  });
}
