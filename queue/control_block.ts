/**
 * The few words that a serving thread shares with the thread that manages it: what it is told, and
 * how one sees from outside that it is alive. A Worker that is blocked in the kernel gets no
 * messages, so orders are written here and the ring is woken through an eventfd.
 *
 * @module
 */

import { assert } from "../uapi/error.ts";

/** Bytes of a control block. */
export const CONTROL_BLOCK_BYTES = 64;

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

/** The low 32 bits of the size that the backend is to have, in bytes. Written by the manager. */
const CONTROL_RESIZE_LOW = 6;
/** The rest of it. */
const CONTROL_RESIZE_HIGH = 7;
/** Counts the orders to resize. Written by the manager, after the size. */
const CONTROL_RESIZE_ASKED = 8;
/** The last such order that was carried out, or failed. Written by the thread, after the errno. */
const CONTROL_RESIZE_DONE = 9;
/** 0, or the positive errno by which it failed. Written by the thread. */
const CONTROL_RESIZE_ERRNO = 10;
/** 1 while the watch over this thread sleeps until it has something to do. */
const CONTROL_WATCH = 11;

assert(CONTROL_WATCH * 4 < CONTROL_BLOCK_BYTES, "all words are in the block");

/** The thread runs JavaScript: without progress for long it is stuck. */
export const THREAD_IN_USER = 0;
/** The thread waits in `io_uring_enter`: it cannot be stuck. */
export const THREAD_IN_KERNEL = 1;
/** The thread waits, in the kernel or for its event loop, and nothing is outstanding. */
export const THREAD_IDLE = 2;

/** Answer soon what is outstanding now: the device is about to be stopped. */
export const ORDER_DRAIN = 1;
/** Leave the loop at once; whatever the tags hold is aborted by the kernel. */
export const ORDER_ABANDON = 2;

/** Answer what is held and leave: the device has been taken away from its server. */
export const ORDER_LEAVE = 4;

assert(
  (ORDER_DRAIN | ORDER_ABANDON | ORDER_LEAVE) === ORDER_DRAIN + ORDER_ABANDON + ORDER_LEAVE,
  "an order is a bit of its own",
);

/** How long requests get that were outstanding when a drain was ordered, in milliseconds. */
export const DRAIN_MS = 5_000;

/** The thread still holds what it holds. */
export const OWNER_NONE = 0;
/** The thread releases it, in its own time. */
export const OWNER_THREAD = 1;
/** The manager has taken it away: the thread must not touch it again. */
export const OWNER_MANAGER = 2;

/** Says that the watch over a thread is about to sleep; for the watch. */
export function sleepWatch(control: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(control, CONTROL_WATCH, 1);
}

/**
 * Resolves once the thread has something to do, or the watch is woken by its owner; at once where
 * that happened since {@linkcode sleepWatch}. It keeps no event loop alive.
 */
export async function watchWoken(control: Int32Array<SharedArrayBuffer>): Promise<void> {
  await Atomics.waitAsync(control, CONTROL_WATCH, 1).value;
}

/** Wakes the watch if it sleeps. To a thread that gets on it costs one look. */
export function wakeWatch(control: Int32Array<SharedArrayBuffer>): void {
  if (control[CONTROL_WATCH] === 0) return;
  Atomics.store(control, CONTROL_WATCH, 0);
  Atomics.notify(control, CONTROL_WATCH);
}

/** Claims the right to release what a thread holds. Only one claim ever succeeds. */
export function claimRelease(control: Int32Array<SharedArrayBuffer>, owner: number): boolean {
  assert(owner === OWNER_THREAD || owner === OWNER_MANAGER, "somebody releases it");
  return Atomics.compareExchange(control, CONTROL_OWNER, OWNER_NONE, owner) === OWNER_NONE;
}

/** A new control block. */
export function createControlBlock(deadlineMs: number): SharedArrayBuffer {
  assert(deadlineMs > 0 && deadlineMs < 2 ** 31, "a deadline fits its word");
  const buffer = new SharedArrayBuffer(CONTROL_BLOCK_BYTES);
  new Int32Array(buffer)[CONTROL_DEADLINE_MS] = deadlineMs;
  return buffer;
}

/** Orders that the backend be resized; the thread must be woken then. Returns the order's number. */
export function orderResize(control: Int32Array<SharedArrayBuffer>, bytes: number): number {
  assert(Number.isSafeInteger(bytes) && bytes > 0, "a size is exact");
  Atomics.store(control, CONTROL_RESIZE_LOW, bytes | 0);
  Atomics.store(control, CONTROL_RESIZE_HIGH, Math.floor(bytes / 2 ** 32));
  return Atomics.add(control, CONTROL_RESIZE_ASKED, 1) + 1;
}

/** The number of the last order to resize, 0 if there was none yet; for the thread. */
export function resizeOrder(control: Int32Array<SharedArrayBuffer>): number {
  return Atomics.load(control, CONTROL_RESIZE_ASKED);
}

/** The size that was ordered last, in bytes; for the thread. */
export function resizeBytes(control: Int32Array<SharedArrayBuffer>): number {
  const low = Atomics.load(control, CONTROL_RESIZE_LOW) >>> 0;
  return Atomics.load(control, CONTROL_RESIZE_HIGH) * 2 ** 32 + low;
}

/** Reports that an order to resize was carried out, or failed with a positive errno. */
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

/** 0 or the errno of an order to resize; undefined while it is not done; for the manager. */
export function resizeResult(
  control: Int32Array<SharedArrayBuffer>,
  order: number,
): number | undefined {
  if (Atomics.load(control, CONTROL_RESIZE_DONE) !== order) return undefined;
  return Atomics.load(control, CONTROL_RESIZE_ERRNO);
}
