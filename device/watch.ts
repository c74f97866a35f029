/**
 * Detects from outside that a serving thread is stuck in a method of its backend.
 *
 * Nothing inside a thread can interrupt a synchronous loop of its backend, and an unanswered request
 * blocks the removal of the device. So each thread publishes its state and progress in its control
 * block, and another thread watches them.
 *
 * @module
 */

import {
  CONTROL_DEADLINE_MS,
  CONTROL_PROGRESS,
  CONTROL_STATE,
  sleepWatch,
  THREAD_IDLE,
  THREAD_IN_USER,
  wakeWatch,
  watchWoken,
} from "../queue/control_block.ts";
import { isSignalled } from "../uring/libc.ts";
import { PolledFd } from "../uring/poller.ts";

/** Checks per deadline. */
const LOOKS = 8;

/** The thread to watch. */
export interface Watched {
  /** Its control block. */
  readonly control: SharedArrayBuffer;
  /** The eventfd that its ring signals, for a thread with an event loop; otherwise -1. */
  readonly completionsFd: number;
}

/** Whether the thread is waiting for work, and no completions are waiting for it. */
function isWaiting({ control, completionsFd }: Watched): boolean {
  if (Atomics.load(new Int32Array(control), CONTROL_STATE) === THREAD_IN_USER) return false;
  return completionsFd < 0 || !isSignalled(completionsFd);
}

/** Compares a thread's progress between calls; the caller chooses when. */
export class ProgressProbe {
  readonly #watched: Watched;
  readonly #words: Int32Array<SharedArrayBuffer>;
  #progress = -1;

  /** Starts without a previous value, so the first comparison reports progress. */
  constructor(watched: Watched) {
    this.#watched = watched;
    this.#words = new Int32Array(watched.control);
  }

  /** Whether the thread has made progress since the last call, or is idle. */
  advanced(): boolean {
    const before = this.#progress;
    this.#progress = Atomics.load(this.#words, CONTROL_PROGRESS);
    return this.#progress !== before || isWaiting(this.#watched);
  }
}

/**
 * Calls `onStuck` once when the thread has run JavaScript for a whole deadline without progress. For
 * a thread with an event loop, also when completions have waited that long.
 *
 * The watch checks eight times per deadline while the thread works. After finding the thread idle
 * twice in a row it sleeps until the thread has work.
 *
 * @param onLook Called at each check.
 * @returns A function that ends the watch.
 */
export function watchThread(
  watched: Watched,
  onStuck: () => void,
  onLook: () => void = () => {},
): () => void {
  const { control, completionsFd } = watched;
  const words = new Int32Array(control);
  const periodMs = Math.max(25, Atomics.load(words, CONTROL_DEADLINE_MS) / LOOKS);
  let timer: ReturnType<typeof setInterval> | undefined;
  let completions: PolledFd | undefined;
  let progress = -1;
  let idleMs = 0;
  let quietLooks = 0;
  let lookedMs = 0;
  let isOver = false;
  const start = () => {
    if (isOver) return;
    [idleMs, quietLooks, lookedMs] = [0, 0, performance.now()];
    timer = setInterval(look, periodMs);
  };
  const end = () => {
    isOver = true;
    clearInterval(timer);
    completions?.[Symbol.dispose]();
    wakeWatch(words);
  };
  const sleep = async () => {
    clearInterval(timer);
    try {
      const woken = [watchWoken(words)];
      // A thread that is stuck in other code of its event loop does not come to wake the watch.
      if (completionsFd >= 0) {
        completions = new PolledFd(completionsFd);
        woken.push(completions.wait());
      }
      await Promise.race(woken);
    } catch {
      // No descriptor left to wait with: keep checking instead of sleeping.
    }
    completions?.[Symbol.dispose]();
    completions = undefined;
    wakeWatch(words);
    start();
  };
  const look = () => {
    onLook();
    const now = performance.now();
    // If more time has passed than between two checks, the whole process was stopped (Ctrl-Z, a
    // debugger, a suspended machine), and the thread could not run either.
    idleMs += Math.min(now - lookedMs, 2 * periodMs);
    lookedMs = now;
    const seen = Atomics.load(words, CONTROL_PROGRESS);
    const isIdle = Atomics.load(words, CONTROL_STATE) === THREAD_IDLE;
    const advanced = seen !== progress;
    progress = seen;
    if (advanced || isWaiting(watched)) {
      idleMs = 0;
      quietLooks = !advanced && isIdle ? quietLooks + 1 : 0;
      // The first quiet check announces that the watch will sleep. The second one catches whatever
      // the thread did at that very moment.
      if (quietLooks === 1) sleepWatch(words);
      if (quietLooks === 2) void sleep();
    } else if (idleMs > Math.max(Atomics.load(words, CONTROL_DEADLINE_MS), 2 * periodMs)) {
      end();
      onStuck();
    }
  };
  start();
  return end;
}
