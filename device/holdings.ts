/**
 * The resources that a process holds for a device, and their release.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_S_DEV_DEAD } from "../uapi/ublk_cmd.ts";
import { closeFd } from "../uring/libc.ts";
import { deleteDevice } from "./delete.ts";
import { logLine, type ThreadLogs } from "./log.ts";
import { GRACE_MS } from "./thread_handle.ts";
import type { MappedMemory } from "./shared_memory.ts";
import type { Threads } from "./threads.ts";

/** The resources that a device's steps have acquired so far. */
export class Holdings {
  /** The N of `/dev/ublkbN`; -1 before the kernel has the device. */
  id = -1;
  /** The control device. */
  control?: Control;
  /** The threads' logs. */
  logs?: ThreadLogs;
  /** The serving threads, with the backend. */
  threads?: Threads;
  /** The memory that clients share with the threads. */
  memory?: MappedMemory;
  /** `/dev/ublkcN`, or -1. */
  charFd = -1;
  #release?: Promise<void>;

  /** Closes `/dev/ublkcN`. DEL_DEV and recovery wait until it is closed everywhere. */
  closeChar(): void {
    if (this.charFd < 0) return;
    closeFd(this.charFd);
    this.charFd = -1;
  }

  /**
   * Releases everything once, even if parts of it fail. Throws the first error at the end.
   *
   * @param keepDevice Whether the device itself stays, for another server to recover.
   * @param closeMs Time the backend has to close, in milliseconds. As long as for a flush, because
   *   it may write back what it holds: with 5 s, a slow disk once lost the rest.
   */
  release(keepDevice: boolean, closeMs: number): Promise<void> {
    return this.#release ??= this.#releaseAll(keepDevice, Math.max(closeMs, GRACE_MS));
  }

  async #releaseAll(keepDevice: boolean, closeMs: number): Promise<void> {
    this.closeChar();
    const results = [
      ...await Promise.allSettled([keepDevice ? undefined : this.#delete()]),
      // A thread that was killed cannot close anything any more.
      ...await Promise.allSettled([this.threads?.close(this.threads.forced ? GRACE_MS : closeMs)]),
    ];
    // An abandoned thread may still read there, so its mapping stays for ever.
    if (this.threads?.forced !== true) this.memory?.[Symbol.dispose]();
    this.logs?.[Symbol.dispose]();
    await this.control?.[Symbol.asyncDispose]();
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async #delete(): Promise<void> {
    if (this.id < 0) return;
    const taken = await deleteDevice(this.control!, this.id);
    if (taken !== undefined) logLine(20, taken);
  }

  /**
   * Whether the device still exists after all its threads have ended: then somebody quiesced it. A
   * device that was stopped or deleted is dead.
   */
  async outlives(): Promise<boolean> {
    try {
      return (await this.control!.getDevInfo(this.id)).state !== UBLK_S_DEV_DEAD;
    } catch (error) {
      if (error instanceof UblkError && error.code === "DEVICE_NOT_FOUND") return false;
      throw error;
    }
  }
}
