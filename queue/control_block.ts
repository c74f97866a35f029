/**
 * The few words that a serving thread shares with the thread that manages it: what it is told, and
 * how one sees from outside that it is alive. A Worker that is blocked in the kernel gets no
 * messages, so orders are written here and the ring is woken through an eventfd.
 *
 * @module
 */

/** Bytes of a control block. */
export const CONTROL_BLOCK_BYTES = 32;

/** Where the thread is: see {@linkcode THREAD_IN_KERNEL} and the like. Written by the thread. */
export const CONTROL_STATE = 0;
/** Changes whenever the thread gets something done. Written by the thread. */
export const CONTROL_PROGRESS = 1;
/** The manager's last order; a bit set of `ORDER_*`. Written by the manager. */
export const CONTROL_ORDER = 2;
/** The last order that the thread has seen. Written by the thread. */
export const CONTROL_SEEN = 3;
/** The deadline of a request in milliseconds. Written by the manager. */
export const CONTROL_DEADLINE_MS = 4;
/** Who releases what the thread holds: whoever first changes it from {@linkcode OWNER_NONE}. */
export const CONTROL_OWNER = 5;

/** The thread runs JavaScript: without progress for long it is stuck. */
export const THREAD_IN_USER = 0;
/** The thread waits in `io_uring_enter` (or for its event loop): it cannot be stuck. */
export const THREAD_IN_KERNEL = 1;

/** Answer soon what is outstanding now: the device is about to be stopped. */
export const ORDER_DRAIN = 1;
/** Leave the loop at once; whatever the tags hold is aborted by the kernel. */
export const ORDER_ABANDON = 2;

/** How long requests get that were outstanding when a drain was ordered, in milliseconds. */
export const DRAIN_MS = 5_000;

/** The thread still holds what it holds. */
export const OWNER_NONE = 0;
/** The thread releases it, in its own time. */
export const OWNER_THREAD = 1;
/** The manager has taken it away: the thread must not touch it again. */
export const OWNER_MANAGER = 2;

/** Claims the right to release what a thread holds. Only one claim ever succeeds. */
export function claimRelease(control: Int32Array<SharedArrayBuffer>, owner: number): boolean {
  return Atomics.compareExchange(control, CONTROL_OWNER, OWNER_NONE, owner) === OWNER_NONE;
}

/** A new control block. */
export function createControlBlock(deadlineMs: number): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(CONTROL_BLOCK_BYTES);
  new Int32Array(buffer)[CONTROL_DEADLINE_MS] = deadlineMs;
  return buffer;
}
