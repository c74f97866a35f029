/**
 * Sees from outside whether a serving thread is stuck in a method of its backend.
 *
 * A synchronous loop in a backend cannot be interrupted by anything in its thread, and a request
 * that is never answered holds up whoever removes the device. So each thread shows in its control
 * block where it is and that it gets on, and somebody who is not that thread looks.
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

/** Looks per deadline. */
const LOOKS = 8;

/** The thread to watch. */
export interface Watched {
  /** Its control block. */
  readonly control: SharedArrayBuffer;
  /** The eventfd that its ring signals where it has an event loop, or -1. */
  readonly completionsFd: number;
}

/** Whether the thread waits for something to do, and nothing that has come waits for it. */
function isWaiting({ control, completionsFd }: Watched): boolean {
  if (Atomics.load(new Int32Array(control), CONTROL_STATE) === THREAD_IN_USER) return false;
  return completionsFd < 0 || !isSignalled(completionsFd);
}

/** A look at a thread now and then, by somebody with a clock of his own. */
export class Look {
  readonly #watched: Watched;
  readonly #words: Int32Array<SharedArrayBuffer>;
  #progress = -1;

  /** It looks at that thread. */
  constructor(watched: Watched) {
    this.#watched = watched;
    this.#words = new Int32Array(watched.control);
  }

  /** Whether the thread has got something done since the look before, or has nothing to do. */
  gotOn(): boolean {
    const before = this.#progress;
    this.#progress = Atomics.load(this.#words, CONTROL_PROGRESS);
    return this.#progress !== before || isWaiting(this.#watched);
  }
}

/**
 * Calls `onStuck` once when the thread has run JavaScript for a whole deadline without getting
 * anything done; for one with an event loop, also when completions wait so long to be looked at.
 *
 * The watch looks eight times per deadline while the thread is at work. Where it found the thread
 * idle twice in a row it sleeps, and nothing wakes it until the thread has something to do.
 *
 * @param onLook Called at each look.
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
      if (completionsFd < 0) await watchWoken(words);
      else await (completions = new PolledFd(completionsFd)).wait();
    } catch {
      // No descriptor is left to wait with: the watch stays awake.
    }
    completions?.[Symbol.dispose]();
    completions = undefined;
    start();
  };
  const look = () => {
    onLook();
    const now = performance.now();
    // Where more time has passed than between two looks, the whole process stood still (Ctrl-Z, a
    // debugger, a suspended machine), and the thread had none of it.
    idleMs += Math.min(now - lookedMs, 2 * periodMs);
    lookedMs = now;
    const seen = Atomics.load(words, CONTROL_PROGRESS);
    const isIdle = Atomics.load(words, CONTROL_STATE) === THREAD_IDLE;
    const gotOn = seen !== progress;
    progress = seen;
    if (gotOn || isWaiting(watched)) {
      idleMs = 0;
      quietLooks = !gotOn && isIdle ? quietLooks + 1 : 0;
      // The first look says that the watch will sleep. By the second, what the thread did at that
      // very moment can be seen here.
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
