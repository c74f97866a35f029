/**
 * Whether the files of a disk have lost writes, as all its threads know it.
 *
 * The kernel tells of a failed `fdatasync` once, and then calls the pages clean that it could not
 * write: the next one, also in another thread, succeeds. A disk's flush once did so too, and what
 * had been answered before it was gone with the page cache. Two that run at the same moment are told
 * apart by the kernel, of which one succeeds: it is caught where the failure is known by then.
 *
 * @module
 */

import { ECANCELED, EINTR, EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";

/** A note that lasts as long as the files are open. */
export class LostWrites {
  readonly #word: Int32Array<SharedArrayBuffer>;

  /** In memory that the threads share. */
  constructor(memory: SharedArrayBuffer = LostWrites.memory()) {
    this.#word = new Int32Array(memory);
  }

  /** Memory for one, without a loss. */
  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  }

  /** A sync has failed: no later one is true. */
  get noted(): boolean {
    return Atomics.load(this.#word, 0) !== 0;
  }

  /** Takes the result of a sync: 0 or a negative errno. One that was given up has lost nothing. */
  note(result: number): void {
    if (result >= 0 || result === -EINTR || result === -ECANCELED) return;
    Atomics.store(this.#word, 0, 1);
  }

  /** @throws {UblkError} EIO where a sync has failed. */
  check(): void {
    if (!this.noted) return;
    const reason = "an earlier flush has failed, and what it lost is not known";
    throw new UblkError("SYSCALL_FAILED", { operation: "fdatasync", reason, errno: EIO });
  }
}
