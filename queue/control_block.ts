/**
 * The control block: the words that a serving thread shares with its manager. They carry orders to
 * the thread, and show from outside that it is alive. A Worker that is blocked in the kernel gets
 * no messages, so the manager writes orders here and wakes the ring through an eventfd.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

/** Bytes of a control block. */
export const CONTROL_BLOCK_BYTES = 64;

/** The thread's state: one of `THREAD_*`. Written by the thread. */
export const CONTROL_STATE = 0;
/** A number that changes whenever the thread makes progress. Written by the thread. */
export const CONTROL_PROGRESS = 1;
/** The manager's last order; a bit set of `ORDER_*`. Written by the manager. */
export const CONTROL_ORDER = 2;
/** The last order that the thread has seen. Written by the thread. */
export const CONTROL_SEEN = 3;
/** The deadline of a request in milliseconds. Written by the manager. */
export const CONTROL_DEADLINE_MS = 4;
/**
 * The side that releases the thread's resources: the first to change it from
 * {@linkcode OWNER_NONE}.
 */
export const CONTROL_OWNER = 5;

/** The low 32 bits of the backend's new size, in bytes. Written by the manager. */
const CONTROL_RESIZE_LOW = 6;
/** The high 32 bits of the new size. Written by the manager. */
const CONTROL_RESIZE_HIGH = 7;
/** The number of orders to resize. Written by the manager, after the size. */
const CONTROL_RESIZE_ASKED = 8;
/** The last order to resize that was done or failed. Written by the thread, after the errno. */
const CONTROL_RESIZE_DONE = 9;
/** The result of that order: 0, or a positive errno. Written by the thread. */
const CONTROL_RESIZE_ERRNO = 10;
/** 1 while the watch sleeps until this thread has work. */
const CONTROL_WATCH = 11;

assert(CONTROL_WATCH * 4 < CONTROL_BLOCK_BYTES, "all words are in the block");

/** The thread runs JavaScript. If it makes no progress for long, it is stuck. */
export const THREAD_IN_USER = 0;
/** The thread waits in `io_uring_enter`, so it cannot be stuck. */
export const THREAD_IN_KERNEL = 1;
/** The thread waits, in the kernel or for its event loop, and nothing is outstanding. */
export const THREAD_IDLE = 2;

/** Answer the outstanding requests soon, because the device is about to be stopped. */
export const ORDER_DRAIN = 1;
/** Leave the loop at once. The kernel aborts the requests that the tags hold. */
export const ORDER_ABANDON = 2;

/** Answer the held requests and leave: the device has been taken away from its server. */
export const ORDER_LEAVE = 4;

assert(
  (ORDER_DRAIN | ORDER_ABANDON | ORDER_LEAVE) === ORDER_DRAIN + ORDER_ABANDON + ORDER_LEAVE,
  "an order is a bit of its own",
);

/** Time for requests that were outstanding when a drain was ordered, in milliseconds. */
export const DRAIN_MS = 5_000;

/** The thread still holds its resources. */
export const OWNER_NONE = 0;
/** The thread releases its resources itself. */
export const OWNER_THREAD = 1;
/** The manager has taken the resources. The thread must not touch them again. */
export const OWNER_MANAGER = 2;

/** Notes that the watch is about to sleep. Called by the watch. */
export function sleepWatch(control: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(control, CONTROL_WATCH, 1);
}

/**
 * Resolves once the thread has work, or the watch's owner wakes it; at once if that happened since
 * {@linkcode sleepWatch}. It does not keep the event loop alive.
 */
export async function watchWoken(control: Int32Array<SharedArrayBuffer>): Promise<void> {
  await Atomics.waitAsync(control, CONTROL_WATCH, 1).value;
}

/** Wakes the watch if it sleeps. Otherwise it costs one load. */
export function wakeWatch(control: Int32Array<SharedArrayBuffer>): void {
  if (control[CONTROL_WATCH] === 0) return;
  Atomics.store(control, CONTROL_WATCH, 0);
  Atomics.notify(control, CONTROL_WATCH);
}

/** Claims the right to release a thread's resources. Only one claim ever succeeds. */
export function claimRelease(control: Int32Array<SharedArrayBuffer>, owner: number): boolean {
  assert(owner === OWNER_THREAD || owner === OWNER_MANAGER, "somebody releases it");
  return Atomics.compareExchange(control, CONTROL_OWNER, OWNER_NONE, owner) === OWNER_NONE;
}

/** Makes a control block. */
export function createControlBlock(deadlineMs: number): SharedArrayBuffer {
  assert(deadlineMs > 0 && deadlineMs < 2 ** 31, "a deadline fits its word");
  const buffer = new SharedArrayBuffer(CONTROL_BLOCK_BYTES);
  new Int32Array(buffer)[CONTROL_DEADLINE_MS] = deadlineMs;
  return buffer;
}

/** Orders a resize and returns the order's number. The caller must then wake the thread. */
export function orderResize(control: Int32Array<SharedArrayBuffer>, bytes: number): number {
  assert(Number.isSafeInteger(bytes) && bytes > 0, "a size is exact");
  Atomics.store(control, CONTROL_RESIZE_LOW, bytes | 0);
  Atomics.store(control, CONTROL_RESIZE_HIGH, Math.floor(bytes / 2 ** 32));
  return Atomics.add(control, CONTROL_RESIZE_ASKED, 1) + 1;
}

/** The number of the last order to resize, or 0. Called by the thread. */
export function resizeOrder(control: Int32Array<SharedArrayBuffer>): number {
  return Atomics.load(control, CONTROL_RESIZE_ASKED);
}

/** The size of the last order, in bytes. Called by the thread. */
export function resizeBytes(control: Int32Array<SharedArrayBuffer>): number {
  const low = Atomics.load(control, CONTROL_RESIZE_LOW) >>> 0;
  return Atomics.load(control, CONTROL_RESIZE_HIGH) * 2 ** 32 + low;
}

/** Reports that an order to resize is done (errno 0), or failed with a positive errno. */
export function reportResize(
  control: Int32Array<SharedArrayBuffer>,
  order: number,
  errno: number,
): void {
  assert(order > 0 && order <= resizeOrder(control), "what is reported was ordered");
  assert(errno >= 0, "an errno is positive");
  Atomics.store(control, CONTROL_RESIZE_ERRNO, errno);
  Atomics.store(control, CONTROL_RESIZE_DONE, order);
}

/** The result of an order to resize: 0 or an errno; undefined until done. Called by the manager. */
export function resizeResult(
  control: Int32Array<SharedArrayBuffer>,
  order: number,
): number | undefined {
  if (Atomics.load(control, CONTROL_RESIZE_DONE) !== order) return undefined;
  return Atomics.load(control, CONTROL_RESIZE_ERRNO);
}
