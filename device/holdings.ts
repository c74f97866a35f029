/**
 * What a process holds of a device, and how it lets go: how a device ends, or goes on without us.
 *
 * @module
 */

import type { Control } from "../ctrl/control.ts";
import { UblkError } from "../uapi/error.ts";
import { UBLK_S_DEV_DEAD } from "../uapi/ublk_cmd.ts";
import { closeFd } from "../uring/libc.ts";
import { deleteDevice } from "./delete.ts";
import { logLine, type ThreadLogs } from "./log.ts";
import { GRACE_MS } from "./member.ts";
import type { MappedMemory } from "./shared_memory.ts";
import type { Threads } from "./threads.ts";

/** What a device's steps have taken hold of so far. */
export class Holdings {
  /** The N of `/dev/ublkbN`; -1 where the kernel knows of no device. */
  id = -1;
  /** The control device. */
  control?: Control;
  /** The threads' logs. */
  logs?: ThreadLogs;
  /** The serving threads, with the backend. */
  threads?: Threads;
  /** What clients share with them. */
  memory?: MappedMemory;
  /** `/dev/ublkcN`, or -1. */
  charFd = -1;
  #release?: Promise<void>;

  /** Closes `/dev/ublkcN`: DEL_DEV, and recovery, wait until it is closed everywhere. */
  closeChar(): void {
    if (this.charFd < 0) return;
    closeFd(this.charFd);
    this.charFd = -1;
  }

  /**
   * Lets go of everything, once, whatever of it fails; and throws the first that did.
   *
   * @param keepDevice Whether the device itself stays, for another server to recover.
   * @param closeMs How long the backend may take to close: as long as over a flush, for one that
   *   writes back what it holds. It once had 5 s, and a slow disk lost the rest.
   */
  release(keepDevice: boolean, closeMs: number): Promise<void> {
    return this.#release ??= this.#releaseAll(keepDevice, Math.max(closeMs, GRACE_MS));
  }

  async #releaseAll(keepDevice: boolean, closeMs: number): Promise<void> {
    this.closeChar();
    const results = [
      ...await Promise.allSettled([keepDevice ? undefined : this.#delete()]),
      // One that had to be ended by force closes nothing any more.
      ...await Promise.allSettled([this.threads?.close(this.threads.forced ? GRACE_MS : closeMs)]),
    ];
    // A thread that was left behind may still read there: its mapping stays for good.
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
   * Whether a device whose threads have all left is still there: then somebody has quiesced it. One
   * that was stopped or deleted is dead.
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
