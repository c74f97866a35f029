/**
 * The two ways in which a serving thread waits.
 *
 * @module
 */

import { resetEventFd, signalEventFd } from "../uring/libc.ts";
import { PolledFd } from "../uring/poller.ts";
import { registerEventFd } from "../uring/register.ts";
import { CONTROL_PROGRESS, THREAD_IDLE, THREAD_IN_USER } from "./control_block.ts";
import type { QueueServer } from "./server.ts";

/**
 * Serves until the device is gone, blocking the thread in the kernel: one system call submits the
 * answers of a batch and waits for the next. For backends that are `synchronous`.
 */
export function serveBlocking(server: QueueServer): void {
  const ring = server.ring;
  while (server.running) {
    server.sleep();
    if (server.draining) ring.enterTimeout(1, DRAIN_CHECK_US);
    else ring.enter(1);
    server.awake();
    if (server.draining) server.expire();
    server.process();
  }
  server.finish();
}

/**
 * As {@linkcode serveBlocking}, with a turn for the event loop several times a second. Where Deno's
 * telemetry is on, each export waits for every thread's event loop, and so does the process's end.
 */
export async function serveInTurns(server: QueueServer): Promise<void> {
  const ring = server.ring;
  let turnMs = performance.now();
  while (server.running) {
    server.sleep();
    ring.enterTimeout(1, DRAIN_CHECK_US);
    server.awake();
    if (server.draining) server.expire();
    server.process();
    if (performance.now() - turnMs < DRAIN_CHECK_US / 1000) continue;
    await new Promise((resolve) => setTimeout(resolve));
    turnMs = performance.now();
  }
  server.finish();
}

/** How often a thread that is to drain looks whether its patience has ended, in microseconds. */
const DRAIN_CHECK_US = 100_000;

/** How often, within one deadline, overdue requests are looked for. */
const CHECKS_PER_DEADLINE = 8;
/** Batches handled before the event loop gets its turn even if more are ready. */
const BATCHES_PER_TURN = 16;

/**
 * Serves until the device is gone from within an event loop, so that Promises, timers and sockets
 * of the backend go on. Waiting costs one hop through Deno's thread pool. While nothing is
 * outstanding nothing wakes this thread.
 *
 * @param eventfd A non-blocking eventfd, which the ring is to signal. It stays its owner's, and is
 *   signalled for as long as there are completions that this thread has not looked at.
 */
export async function serveInEventLoop(
  server: QueueServer,
  eventfd: number,
  deadlineMs: number,
): Promise<void> {
  const ring = server.ring;
  const periodMs = Math.max(10, Math.min(1000, deadlineMs / CHECKS_PER_DEADLINE));
  let timer: ReturnType<typeof setInterval> | undefined;
  registerEventFd(ring, eventfd);
  await using completions = new PolledFd(eventfd);
  const tick = () => {
    // The tick proves that this thread is not stuck in a method of the backend.
    server.control[CONTROL_PROGRESS]++;
    server.guard(() => server.expire());
    // A late answer may have ended the service, and the kernel may have been short of memory when
    // it was to be submitted: the loop must look again.
    if (!server.running || ring.pending > 0) completions.wake();
    if (server.outstanding > 0 || ring.pending > 0) return;
    clearInterval(timer);
    timer = undefined;
    server.enterState(THREAD_IDLE);
  };
  try {
    while (server.running) {
      for (let batch = 0; batch < BATCHES_PER_TURN && server.running; batch++) {
        ring.enter(0);
        if (server.process() === 0 && ring.pending === 0) break;
      }
      if (!server.running) break;
      // Not before all were handled: the watch goes by it, should a method never return.
      resetEventFd(eventfd);
      if (server.outstanding > 0 || ring.pending > 0) timer ??= setInterval(tick, periodMs);
      // What came in between, or is too much for one turn of the event loop, gets the next.
      if (ring.ready() > 0) signalEventFd(eventfd);
      else if (timer === undefined) server.enterState(THREAD_IDLE);
      await completions.wait();
      server.enterState(THREAD_IN_USER);
    }
    server.finish();
    server.check();
  } finally {
    clearInterval(timer);
  }
}
