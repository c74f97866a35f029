/**
 * Remembers, for all threads of a disk, that its files have lost writes.
 *
 * The kernel reports a failed `fdatasync` once per open file, and then treats the pages that it could
 * not write as clean. The next `fdatasync` succeeds, also in another thread. A disk's flush once did
 * so too, and answered writes were lost with the page cache.
 *
 * Of two that run at the same time the kernel fails one. The other is answered with success if it
 * completes before the failure is noted here.
 *
 * @module
 */

import { ECANCELED, EINTR, EIO } from "../uapi/errno.ts";
import { UblkError } from "../uapi/error.ts";

/** A note that is kept for as long as the files are open. */
export class LostWrites {
  readonly #word: Int32Array<SharedArrayBuffer>;

  /** A note in memory that the threads share. */
  constructor(memory: SharedArrayBuffer = LostWrites.memory()) {
    this.#word = new Int32Array(memory);
  }

  /** Memory for a note: nothing is lost yet. */
  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  }

  /** Whether a sync has failed, so that no later one can be trusted. */
  get noted(): boolean {
    return Atomics.load(this.#word, 0) !== 0;
  }

  /** Notes the result of a sync: 0 or a negative errno. A cancelled or interrupted one lost nothing. */
  note(result: number): void {
    if (result >= 0 || result === -EINTR || result === -ECANCELED) return;
    Atomics.store(this.#word, 0, 1);
  }

  /** Throws if a sync has failed. @throws {UblkError} EIO. */
  check(): void {
    if (!this.noted) return;
    const reason = "an earlier flush has failed, and what it lost is not known";
    throw new UblkError("SYSCALL_FAILED", { operation: "fdatasync", reason, errno: EIO });
  }
}
