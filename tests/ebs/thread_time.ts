/**
 * Has the timers, the monotonic clock and the chance of this thread follow a simulation. So the code of
 * the product runs there as it is, also where it takes no timers of its caller.
 *
 * @module
 */

import type { VirtualTime } from "./virtual_time.ts";

/** Beyond the ids of the thread's own timers, so that those may still be cleared. */
const FIRST_ID = 2 ** 40;

/**
 * Rules this thread until what it returns is disposed of. Timers that are left then never fire.
 *
 * @param random From 0 to 1.
 */
export function ruleThread(time: VirtualTime, random: () => number): Disposable {
  const own = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    now: performance.now,
    random: Math.random,
    unrefTimer: Deno.unrefTimer,
  };
  const cancels = new Map<number, () => void>();
  let last = FIRST_ID;
  const setTimeout = (call: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
    const id = ++last;
    const cancel = time.after(ms, () => {
      cancels.delete(id);
      call(...args);
    });
    cancels.set(id, cancel);
    return id;
  };
  const clearTimeout = (id?: number) => {
    if (id === undefined || id < FIRST_ID) return own.clearTimeout.call(globalThis, id);
    cancels.get(id)?.();
    cancels.delete(id);
  };
  globalThis.setTimeout = setTimeout as unknown as typeof globalThis.setTimeout;
  globalThis.clearTimeout = clearTimeout as typeof globalThis.clearTimeout;
  performance.now = () => time.now;
  Math.random = random;
  // What does not keep the process is all the same here.
  Deno.unrefTimer = (id) => {
    if (Number(id) < FIRST_ID) own.unrefTimer(id);
  };
  return {
    [Symbol.dispose]() {
      globalThis.setTimeout = own.setTimeout;
      globalThis.clearTimeout = own.clearTimeout;
      performance.now = own.now;
      Math.random = own.random;
      Deno.unrefTimer = own.unrefTimer;
    },
  };
}
